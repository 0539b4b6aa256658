//! The limiter as a part of a bigger script.

use rate_limiter::{Decision, LUA_LIB};
use redis_pool::Script;

use crate::support::{World, ip, key, pool};

#[tokio::test]
async fn a_bigger_script_limits_and_works_in_one_round_trip() {
    let mut world = World::new().await;
    let limiter = world.limiter("eu");
    let script = Script::new("counting", [LUA_LIB, include_str!("lua/counting_main.lua")].concat());
    let dimensions = [ip("192.0.2.1", 4), key("partner", 100)];
    let redis = pool(&world.server);
    let mut counts = Vec::new();
    for _ in 0..3 {
        let mut invocation = script.invoke().key("{eu}:count");
        limiter.push_keys(&mut invocation, &dimensions);
        invocation.push_arg(7);
        limiter.push_args(&mut invocation, dimensions.iter().map(|dimension| dimension.quota));
        let ints: Vec<i64> = invocation.run(&redis).await.unwrap();
        let (mine, others) = ints.split_at(Decision::reply_len(dimensions.len()));
        let decision = limiter.read(mine, &dimensions).unwrap();
        counts.push((decision.is_allowed(), others.to_vec()));
    }
    assert_eq!(counts, [(true, vec![7]), (true, vec![14]), (false, vec![14])]);
    assert_eq!(
        world.calls(&["evalsha", "eval", "mget"]).await.iter().sum::<u64>(),
        3 + 3 + 1,
        "one healed NOSCRIPT"
    );
    assert_eq!(world.metric("voketag_rate_limit_decisions_total{dimension=\"ip\",decision=\"denied\"}"), "1");
}

#[tokio::test]
async fn the_library_leaves_no_global_behind() {
    let world = World::new().await;
    let main = "return limiter_decide and 1 or 0";
    let found: i64 =
        Script::new("lib", [LUA_LIB, main].concat()).invoke().run(&pool(&world.server)).await.unwrap();
    let leaked: Result<i64, _> = Script::new("bare", main).invoke().run(&pool(&world.server)).await;
    assert_eq!(found, 1);
    assert!(leaked.is_err(), "a global would have been found");
}
