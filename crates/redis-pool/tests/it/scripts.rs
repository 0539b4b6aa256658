//! Scripts by digest.

use redis_pool::{Error, Script};
use test_support::RedisServer;

use crate::pool;

#[tokio::test]
async fn a_script_survives_script_flush_in_mid_run() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, 1_000);
    let script = Script::new("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for round in 1..=50_i64 {
        let sum: i64 = script.invoke().key("sum").arg(2).run(&pool).await.unwrap();
        assert_eq!(sum, round * 2, "each call runs exactly once");
        if round % 5 == 0 {
            pool.command(redis::cmd("SCRIPT").arg("FLUSH").clone()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn binary_keys_and_arguments_pass_unchanged() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, 1_000);
    let bytes: Vec<u8> = (0..=255).collect();
    let script = Script::new("echo", "return {KEYS[1], ARGV[1], #ARGV}");
    let (key, arg, count): (Vec<u8>, Vec<u8>, i64) =
        script.invoke().key(&bytes[..]).arg(&bytes[..]).arg("").run(&pool).await.unwrap();
    assert_eq!((key, arg, count), (bytes.clone(), bytes, 2));
}

#[tokio::test]
async fn a_fault_of_the_script_and_a_reply_of_another_shape_are_told_apart() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis.url(), 10, 1_000);
    let broken: Result<i64, _> = Script::new("broken", "return nil + 1").invoke().run(&pool).await;
    assert!(matches!(broken, Err(Error::Server { .. })), "{broken:?}");
    let shape: Result<i64, _> = Script::new("text", "return 'no number'").invoke().run(&pool).await;
    assert!(matches!(shape, Err(Error::Reply { .. })), "{shape:?}");
}
