//! One region: cold, warm, restarted, flushed; and what a decision costs its Redis.

use std::sync::Arc;
use std::time::Duration;

use rate_limiter::{Decision, DimensionName, LimitInForce};
use test_support::CapturedLog;

use crate::support::{BORN, COLD_MS, STATE, World, admitted, denied_for, ip, key, quota};

#[tokio::test]
async fn a_new_region_admits_half_and_an_attacker_no_more() {
    let world = World::new().await;
    let limiter = world.limiter("eu");
    assert_eq!(admitted(&limiter, &[ip("192.0.2.1", 100)], 100).await, 50);
    assert_eq!(admitted(&limiter, &[ip("203.0.113.9", 100)], 500).await, 50);
    assert_eq!(world.metric("voketag_rate_limit_region_cold"), "1");
    assert_eq!(
        world.metric("voketag_rate_limit_decisions_total{dimension=\"ip\",decision=\"allowed\"}"),
        "100"
    );
    assert_eq!(
        world.metric("voketag_rate_limit_decisions_total{dimension=\"ip\",decision=\"denied\"}"),
        "500"
    );
    assert_eq!(world.metric("voketag_rate_limit_state_lost_total"), "0");
}

#[tokio::test]
async fn a_region_whose_cold_phase_is_over_admits_all_without_anybodys_help() {
    let mut world = World::new().await;
    let limiter = world.limiter("eu");
    let cold_for = Duration::from_millis(COLD_MS);
    let first = limiter.decide(&[ip("192.0.2.1", 100)]).await.unwrap();
    assert!(first.report().region.unwrap().cold);
    assert!(denied_for_is_within(&first, cold_for));
    world.warm_up("eu").await;
    // The same process: its region has another birth now, but what matters here is the limit.
    assert_eq!(admitted(&limiter, &[ip("192.0.2.2", 100)], 150).await, 100);
    assert_eq!(world.metric("voketag_rate_limit_region_cold"), "0");
}

fn denied_for_is_within(decision: &Decision, cold_for: Duration) -> bool {
    decision.report().statuses[0].reset_after.is_some_and(|reset_after| reset_after <= cold_for)
}

#[tokio::test]
async fn a_process_started_in_a_warm_region_is_not_cold() {
    let mut world = World::new().await;
    world.warm_up("eu").await;
    assert_eq!(admitted(&world.limiter("eu"), &[ip("192.0.2.1", 100)], 60).await, 60);
    let restarted = world.limiter("eu");
    let decision = restarted.decide(&[ip("192.0.2.1", 100)]).await.unwrap();
    let region = decision.report().region.unwrap();
    assert!(!region.cold && !region.made && region.age >= Duration::from_millis(COLD_MS));
    assert_eq!(admitted(&restarted, &[ip("192.0.2.1", 100)], 60).await, 39);
    assert_eq!(world.metric("voketag_rate_limit_state_lost_total"), "0");
}

#[tokio::test]
async fn a_flushed_redis_is_cold_at_once_counted_and_logged() {
    let mut world = World::new().await;
    let log = CapturedLog::of_this_thread();
    world.warm_up("eu").await;
    let limiter = world.limiter("eu");
    assert_eq!(admitted(&limiter, &[ip("192.0.2.1", 100)], 30).await, 30);
    world.flush_all().await;
    assert_eq!(admitted(&limiter, &[ip("192.0.2.1", 100)], 100).await, 50);
    assert_eq!(world.metric("voketag_rate_limit_region_cold"), "1");
    assert_eq!(world.metric("voketag_rate_limit_state_lost_total"), "1");
    let text = log.text();
    let lines_with = |what| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines_with("state was lost"), 1);
    assert_eq!(lines_with("192.0.2.1"), 0, "no address in the log");
}

#[tokio::test]
async fn another_process_that_did_not_remake_the_birth_record_sees_the_loss_too() {
    let mut world = World::new().await;
    let (maker, other) = (world.limiter("eu"), world.limiter("eu"));
    let _ = maker.decide(&[ip("192.0.2.1", 100)]).await.unwrap();
    let _ = other.decide(&[ip("192.0.2.1", 100)]).await.unwrap();
    let born = world.redis_millis().await - 1_000;
    world.set(BORN, born).await;
    let _ = other.decide(&[ip("192.0.2.1", 100)]).await.unwrap();
    assert_eq!(world.metric("voketag_rate_limit_state_lost_total"), "1");
}

#[tokio::test]
async fn a_denied_request_uses_up_nothing_of_any_dimension() {
    let mut world = World::new().await;
    world.warm_up("eu").await;
    let limiter = world.limiter("eu");
    let both = [ip("192.0.2.1", 100), key("partner", 10)];
    assert_eq!(admitted(&limiter, &both, 10).await, 10);
    let before = world.get(STATE).await;
    assert_eq!(admitted(&limiter, &both, 50).await, 0);
    assert_eq!(world.get(STATE).await, before);
    assert_eq!(admitted(&limiter, &[ip("192.0.2.1", 100)], 100).await, 90);
    assert_eq!(
        world.metric("voketag_rate_limit_decisions_total{dimension=\"key\",decision=\"denied\"}"),
        "50"
    );
    assert_eq!(
        world.metric("voketag_rate_limit_decisions_total{dimension=\"ip\",decision=\"denied\"}"),
        "10"
    );
}

#[tokio::test]
async fn a_decision_costs_a_time_an_mget_and_a_set_for_each_dimension_when_allowed() {
    let mut world = World::new().await;
    let limiter = world.limiter("eu");
    let both = [ip("192.0.2.1", 4), key("partner", 2)];
    let commands = ["time", "mget", "set", "get", "del"];
    assert!(limiter.decide(&both).await.unwrap().is_allowed());
    assert_eq!(world.calls(&commands).await, [1, 1, 3, 0, 0], "with the birth record");
    assert!(!limiter.decide(&both).await.unwrap().is_allowed());
    assert_eq!(world.calls(&commands).await, [2, 2, 3, 0, 0], "denied");
    assert!(limiter.decide(&[ip("192.0.2.1", 4)]).await.unwrap().is_allowed());
    assert_eq!(world.calls(&commands).await, [3, 3, 4, 0, 0], "allowed");
}

#[tokio::test]
async fn states_expire_and_a_birth_record_does_not() {
    let mut world = World::new().await;
    let _ = world.limiter("eu").decide(&[ip("192.0.2.1", 100)]).await.unwrap();
    let ttl = world.ttl_ms(STATE).await;
    // A clock that jumps ahead by a minute and comes back meets its state again.
    assert!((110_000..=121_000).contains(&ttl), "{ttl} ms");
    assert_eq!(world.ttl_ms(BORN).await, -1);
}

#[tokio::test]
async fn a_thousand_callers_at_once_are_admitted_to_exactly_the_limit() {
    let mut world = World::new().await;
    world.warm_up("eu").await;
    let limiter = Arc::new(world.limiter("eu"));
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move {
                limiter.decide(&[ip("192.0.2.1", 137)]).await.expect("redis is there").is_allowed()
            })
        })
        .collect();
    let mut admitted = 0;
    for caller in callers {
        admitted += usize::from(caller.await.unwrap());
    }
    assert_eq!(admitted, 137);
}

#[tokio::test]
async fn a_refund_gives_back_one_unit_of_each_dimension_and_only_while_it_is_held() {
    let mut world = World::new().await;
    world.warm_up("eu").await;
    let limiter = world.limiter("eu");
    let both = [ip("192.0.2.1", 2), key("partner", 5)];
    let Decision::Allowed { reservation: first, .. } = limiter.decide(&both).await.unwrap() else {
        panic!("allowed")
    };
    let Decision::Allowed { reservation: second, .. } = limiter.decide(&both).await.unwrap() else {
        panic!("allowed")
    };
    assert!(denied_for(&limiter.decide(&both).await.unwrap()) > Duration::ZERO);
    assert_eq!(limiter.refund(first, &both).await.unwrap(), 2);
    let again = limiter.decide(&both).await.unwrap();
    assert!(again.is_allowed());
    assert_eq!(again.report().statuses[1].remaining, 3);
    assert!((1..=121_000).contains(&world.ttl_ms(STATE).await), "a refund keeps the TTL");
    world.flush_all().await;
    assert_eq!(limiter.refund(second, &both).await.unwrap(), 0);
    assert_eq!(world.get(STATE).await, None);
}

#[tokio::test]
async fn a_refund_of_the_only_unit_leaves_nothing_behind() {
    let mut world = World::new().await;
    let limiter = world.limiter("eu");
    let one = [ip("192.0.2.1", 2)];
    let Decision::Allowed { reservation, .. } = limiter.decide(&one).await.unwrap() else {
        panic!("allowed")
    };
    assert_eq!(limiter.refund(reservation, &one).await.unwrap(), 1);
    assert_eq!(world.get(STATE).await, None);
}

#[tokio::test]
async fn reading_a_region_does_not_give_birth_to_it() {
    let mut world = World::new().await;
    let limiter = world.limiter("eu");
    let quotas = [(DimensionName::Ip, quota(100))];
    let unborn = limiter.region_info(&quotas).await.unwrap();
    assert_eq!(
        (unborn.born_at_ms, unborn.age, unborn.cold, unborn.factor),
        (None, Duration::ZERO, true, 0.5)
    );
    assert_eq!(unborn.limits, [LimitInForce { name: DimensionName::Ip, limit: 50, full: 100 }]);
    assert_eq!(world.get(BORN).await, None);

    let decision = limiter.decide(&[ip("192.0.2.1", 100)]).await.unwrap();
    let cold = limiter.region_info(&quotas).await.unwrap();
    assert_eq!((cold.born_at_ms, cold.cold), (Some(decision.report().region.unwrap().born_at_ms), true));

    world.warm_up("eu").await;
    let warm = limiter.region_info(&quotas).await.unwrap();
    assert_eq!((warm.cold, warm.factor, warm.limits[0].limit), (false, 1.0, 100));
    assert!(warm.age >= Duration::from_millis(COLD_MS));

    let far = world.redis_millis().await + 3_600_000;
    world.set(BORN, far).await;
    assert_eq!(limiter.region_info(&quotas).await.unwrap().born_at_ms, None);
}

#[tokio::test]
async fn a_birth_from_before_the_deployment_is_none_and_the_next_decision_makes_another() {
    let mut world = World::new().await;
    let limiter = world.limiter("eu");
    world.set(BORN, 5_000_000).await;
    let quotas = [(DimensionName::Ip, quota(100))];
    assert!(!limiter.region_info(&quotas).await.unwrap().cold, "no deployment is known");
    let created = world.redis_millis().await - COLD_MS;
    limiter.deployment_created(created);
    let info = limiter.region_info(&quotas).await.unwrap();
    assert_eq!((info.born_at_ms, info.age, info.cold), (None, Duration::ZERO, true));
    assert_eq!(world.get(BORN).await, Some(b"5000000".to_vec()), "reading changes nothing");
    assert_eq!(admitted(&limiter, &[ip("192.0.2.1", 100)], 100).await, 50);
    assert_eq!(world.metric("voketag_rate_limit_state_lost_total"), "1");
    let info = limiter.region_info(&quotas).await.unwrap();
    assert!(info.cold && info.born_at_ms.is_some_and(|born| born >= created));
}
