//! The region's Redis away. It is killed before the first request, and the pools give up soon.

use std::time::Duration;

use rate_limiter::{Decision, GlobalLimiter, OnRedisDown, RegionalGlobalLimiter};
use redis_pool::PoolError;
use test_support::RedisServer;

use crate::support::{World, clock, ip, pool, pool_within, quota};

fn regional_global(
    world: &World,
    on_redis_down: OnRedisDown,
    global: Option<GlobalLimiter>,
) -> RegionalGlobalLimiter {
    let regional = world.limiter_on(pool_within(&world.server, Duration::from_millis(50)), "eu");
    RegionalGlobalLimiter::new(regional, global, on_redis_down, world.metrics.clone(), clock())
}

#[tokio::test]
async fn closed_answers_with_the_error() {
    let mut world = World::new().await;
    let regional_global = regional_global(&world, OnRedisDown::Closed, None);
    world.server.kill();
    let answer = regional_global.decide(&[ip("192.0.2.1", 100)]).await;
    assert!(matches!(answer, Err(PoolError::Unavailable { .. })), "{answer:?}");
}

#[tokio::test]
async fn local_limits_to_the_cold_start_size() {
    let mut world = World::new().await;
    let regional_global = regional_global(&world, OnRedisDown::Local, None);
    world.server.kill();
    let mut passed = 0;
    for _ in 0..200 {
        let decision = regional_global.decide(&[ip("192.0.2.1", 100)]).await.unwrap();
        assert_eq!((decision.report().region, decision.report().statuses[0].limit), (None, 50));
        passed += usize::from(decision.is_allowed());
    }
    assert_eq!(passed, 50);
    assert_eq!(
        world.metric("voketag_rate_limit_decisions_total{dimension=\"ip\",decision=\"denied\"}"),
        "150"
    );
}

#[tokio::test]
async fn a_global_denial_gives_back_what_this_process_counted() {
    let mut world = World::new().await;
    let global_redis = RedisServer::start().await;
    let global = GlobalLimiter::new(pool(&global_redis), quota(1), quota(1), world.metrics.clone(), clock());
    let regional_global = regional_global(&world, OnRedisDown::Local, Some(global));
    world.server.kill();
    let mut remaining = Vec::new();
    for _ in 0..4 {
        let decision = regional_global.decide(&[ip("192.0.2.1", 20)]).await.unwrap();
        remaining.push((decision.is_allowed(), decision.report().statuses[0].remaining));
        if let Decision::Denied { retry_after, .. } = decision {
            assert!(retry_after > Duration::ZERO);
        }
    }
    assert_eq!(remaining, [(true, 9), (true, 8), (false, 8), (false, 8)]);
}
