//! The limit over all regions, and the order in which limits are asked.

use std::time::Duration;

use rate_limiter::{Decision, GlobalLimiter, OnRedisDown, RegionalGlobalLimiter};
use redis_pool::RedisPool;
use test_support::RedisServer;

use crate::support::{World, admitted, clock, ip, key, pool, pool_within, quota};

const CALLER: &str = "192.0.2.1";

struct Regions {
    world: World,
    global: RedisServer,
}

impl Regions {
    async fn new() -> Self {
        Self { world: World::new().await, global: RedisServer::start().await }
    }

    fn regional_global(&self, region: &str, per_minute: u32) -> RegionalGlobalLimiter {
        self.layered_on(pool(&self.global), region, per_minute)
    }

    fn layered_on(&self, global: RedisPool, region: &str, per_minute: u32) -> RegionalGlobalLimiter {
        let metrics = self.world.metrics.clone();
        let global =
            GlobalLimiter::new(global, quota(per_minute), quota(10 * per_minute), metrics.clone(), clock());
        RegionalGlobalLimiter::new(
            self.world.limiter(region),
            Some(global),
            OnRedisDown::Closed,
            metrics,
            clock(),
        )
    }
}

async fn let_pass(regional_global: &RegionalGlobalLimiter, per_minute: u32, asked: usize) -> usize {
    let mut passed = 0;
    for _ in 0..asked {
        let decision = regional_global.decide(&[ip(CALLER, per_minute)]).await.expect("redis is there");
        passed += usize::from(decision.is_allowed());
    }
    passed
}

#[tokio::test]
async fn a_caller_gets_twice_the_limit_over_all_regions_and_the_denial_gives_the_region_back() {
    let mut regions = Regions::new().await;
    for region in ["eu", "us", "global"] {
        regions.world.warm_up(region).await;
    }
    assert_eq!(let_pass(&regions.regional_global("eu", 10), 10, 15).await, 10);
    assert_eq!(let_pass(&regions.regional_global("us", 10), 10, 15).await, 10);
    let third = regions.regional_global("global", 10);
    assert_eq!(let_pass(&third, 10, 15).await, 0);
    assert_eq!(admitted(&regions.world.limiter("global"), &[ip(CALLER, 10)], 15).await, 10, "all given back");
    let denied = "voketag_rate_limit_decisions_total{dimension=\"global\",decision=\"denied\"}";
    assert_eq!(regions.world.metric(denied), "15");
}

#[tokio::test]
async fn a_global_denial_tells_its_wait_and_every_dimension_as_it_stands_after_the_refund() {
    let mut regions = Regions::new().await;
    regions.world.warm_up("eu").await;
    let regional_global = regions.regional_global("eu", 1);
    let one = [ip(CALLER, 4)];
    for _ in 0..2 {
        assert!(regional_global.decide(&one).await.unwrap().is_allowed());
    }
    let Decision::Denied { retry_after, report } = regional_global.decide(&one).await.unwrap() else {
        panic!("denied")
    };
    let [region, global] = &report.statuses[..] else { panic!("two dimensions: {report:?}") };
    assert_eq!((region.name, region.allows, region.limit, region.remaining), ("ip", true, 4, 2));
    assert_eq!((global.name, global.allows, global.limit, global.remaining), ("global", false, 2, 0));
    assert_eq!(Some(retry_after), global.reset_after);
}

#[tokio::test]
async fn a_key_has_a_global_limit_of_its_own() {
    let mut regions = Regions::new().await;
    for region in ["eu", "us", "ap"] {
        regions.world.warm_up(region).await;
    }
    assert_eq!(
        let_pass(&regions.regional_global("eu", 1), 10, 3).await,
        2,
        "the address has used up its own"
    );
    let partner = [key(CALLER, 10)];
    for (region, passing) in [("eu", 10), ("us", 10), ("ap", 0)] {
        let regional_global = regions.regional_global(region, 1);
        let mut passed = 0;
        for _ in 0..15 {
            passed += usize::from(regional_global.decide(&partner).await.unwrap().is_allowed());
        }
        assert_eq!(passed, passing, "{region}");
    }
    let denied = regions.regional_global("ap", 1).decide(&partner).await.unwrap();
    let [region, global] = &denied.report().statuses[..] else { panic!("two dimensions: {denied:?}") };
    assert_eq!((region.name, region.remaining, region.limit), ("key", 10, 10), "all given back");
    assert_eq!((global.name, global.remaining, global.limit), ("global", 0, 20));
}

#[tokio::test]
async fn a_refund_that_empties_the_region_leaves_nothing_to_wait_for_there() {
    let mut regions = Regions::new().await;
    for region in ["eu", "us"] {
        regions.world.warm_up(region).await;
    }
    assert_eq!(let_pass(&regions.regional_global("eu", 1), 10, 2).await, 2);
    let decision = regions.regional_global("us", 1).decide(&[ip(CALLER, 10)]).await.unwrap();
    let status = &decision.report().statuses[0];
    assert_eq!((status.remaining, status.reset_after), (10, None));
    assert_eq!(regions.world.get("vtrl1:{us}:ip:192.0.2.1").await, None);
}

#[tokio::test]
async fn cold_regions_are_halved_and_the_global_limit_is_not() {
    let regions = Regions::new().await;
    for region in ["a", "b", "c", "d"] {
        assert_eq!(let_pass(&regions.regional_global(region, 10), 10, 15).await, 5, "region {region}");
    }
    let fifth = regions.regional_global("e", 10);
    let denied = fifth.decide(&[ip(CALLER, 10)]).await.unwrap();
    assert!(!denied.is_allowed());
    assert_eq!(denied.report().statuses[1].limit, 20);
    assert!(denied.report().statuses[0].reset_after.is_some(), "the region will rise when it is warm");
}

#[tokio::test]
async fn the_regions_answer_stands_when_the_global_redis_is_away() {
    let mut regions = Regions::new().await;
    regions.world.warm_up("eu").await;
    let regional_global =
        regions.layered_on(pool_within(&regions.global, Duration::from_millis(50)), "eu", 1);
    regions.global.kill();
    assert_eq!(let_pass(&regional_global, 10, 15).await, 10);
    assert_eq!(regions.world.metric("voketag_rate_limit_global_degraded_total"), "10");
}

#[tokio::test]
async fn the_global_limit_is_not_asked_about_what_the_region_denied() {
    let mut regions = Regions::new().await;
    regions.world.warm_up("eu").await;
    assert_eq!(let_pass(&regions.regional_global("eu", 100), 3, 10).await, 3);
    let allowed = "voketag_rate_limit_decisions_total{dimension=\"global\",decision=\"allowed\"}";
    assert_eq!(regions.world.metric(allowed), "3");
}
