//! How the Lua functions judge stored records: minted or not, lost, newer, and of which deployment.

use catalog::{Batch, Product, Record};
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;

use super::{batch, script};

/// KEYS 1 batch record · 2 tag state · 3 revocation · 4 numbers of minted batches
const JUDGED: &str = "
local found = redis.call('MGET', unpack(KEYS))
local status, readable = scan_judge(found[1], found[2], found[3], 3, 9, KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return { string.byte(status), readable and 1 or 0 }";

/// ARGV 1 batch record ('' for none) · 2 epoch · 3 index · 4 revision that the caller holds · 5 deployment
/// record · 6 its expected prefix
const OTHERS: &str = "
local record = ARGV[1] ~= '' and ARGV[1]
return {
  batch_holds(record, tonumber(ARGV[2]), tonumber(ARGV[3])) and 1 or 0,
  record and record_if_changed(record, tonumber(ARGV[4])) or '',
  is_deployment(ARGV[5] ~= '' and ARGV[5], ARGV[6]) and 1 or 0,
}";

async fn others(
    connection: &mut MultiplexedConnection,
    batch: Option<(&Batch, u32)>,
    (epoch, index, held): (u16, u32, i64),
    (record, expected): (&str, &str),
) -> (bool, Vec<u8>, bool) {
    let script = script(OTHERS);
    let bytes = batch.map_or_else(Vec::new, |(batch, revision)| batch.encode(revision));
    let mut call = script.prepare_invoke();
    call.arg(bytes).arg(epoch).arg(index).arg(held).arg(record).arg(expected);
    let (holds, sent, same): (u8, Vec<u8>, u8) = call.invoke_async(connection).await.unwrap();
    (holds == 1, sent, same == 1)
}

#[tokio::test]
async fn lua_and_rust_agree_which_tags_a_batch_holds() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    for size in [1, 10, 1 << 24] {
        let batch = Batch { size, ..batch(7) };
        for epoch in [2, 3] {
            for index in [0, 1, 9, 10, (1 << 24) - 1] {
                let (holds, ..) =
                    others(&mut connection, Some((&batch, 1)), (epoch, index, -1), ("", "x")).await;
                let same =
                    batch.holds(tag_id::Epoch::new(epoch).unwrap(), tag_id::TagIndex::new(index).unwrap());
                assert_eq!(holds, same, "size {size}, epoch {epoch}, index {index}");
            }
        }
    }
    assert!(!others(&mut connection, None, (3, 0, -1), ("", "x")).await.0);
}

const MINTED: (u8, u8) = (0, 1);
const NOT_MINTED: (u8, u8) = (2, 0);
const LOST: (u8, u8) = (6, 0);
/// Revoked by its revocation record, although its state is unreadable.
const REVOKED: (u8, u8) = (0, 0);

/// The value of a Redis key.
#[derive(Debug, Clone, Copy)]
enum Held<'a> {
    Nothing,
    Text(&'a [u8]),
    AList,
}
use Held::{AList, Nothing, Text};

async fn hold(connection: &mut MultiplexedConnection, key: &str, held: Held<'_>) {
    let () = redis::cmd("DEL").arg(key).query_async(connection).await.unwrap();
    let () = match held {
        Nothing => return,
        Text(bytes) => redis::cmd("SET").arg(key).arg(bytes).query_async(connection).await.unwrap(),
        AList => redis::cmd("RPUSH").arg(key).arg("x").query_async(connection).await.unwrap(),
    };
}

/// Returns status and readability as [`JUDGED`] replies them.
async fn judged(connection: &mut MultiplexedConnection) -> (u8, u8) {
    let script = script(JUDGED);
    let mut call = script.prepare_invoke();
    call.key("b:7").key("t").key("tr").key("bn").invoke_async(connection).await.unwrap()
}

#[tokio::test]
async fn a_lost_record_is_distinguished_from_a_tag_never_minted() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    // The scanned tag has epoch 3 and index 9.
    let (held, elsewhere) = (batch(7).encode(1), Batch { size: 9, ..batch(7) }.encode(1));
    let (held, elsewhere, large) = (Text(&held), Text(&elsewhere), vec![b'x'; 1 << 20]);
    let minted = [0, 0, 0, 10, 0, 3];
    let (minted, smaller, other_epoch) =
        (Text(&minted), Text(&[0, 0, 0, 9, 0, 3]), Text(&[0, 0, 0, 10, 0, 2]));
    let state = Text(&[0; 28]);
    for (batch, state, revocation, numbers, expected) in [
        (held, Nothing, Nothing, minted, MINTED),
        (held, Nothing, Nothing, Nothing, MINTED),
        (held, Text(&[1]), Nothing, minted, MINTED),
        (held, Text(&[0; 23]), Nothing, minted, MINTED),
        (held, state, Nothing, minted, MINTED),
        (elsewhere, state, Nothing, smaller, NOT_MINTED),
        (elsewhere, state, Nothing, Nothing, NOT_MINTED),
        // The batch's record is gone, of another type, or damaged.
        (Nothing, state, Nothing, Nothing, NOT_MINTED),
        (Nothing, state, Nothing, smaller, NOT_MINTED),
        (Nothing, state, Nothing, other_epoch, NOT_MINTED),
        (Nothing, state, Nothing, minted, LOST),
        (AList, state, Nothing, minted, LOST),
        (AList, state, Nothing, Nothing, LOST),
        (AList, state, Nothing, smaller, NOT_MINTED),
        (Text(b""), state, Nothing, minted, LOST),
        (Text(b"x"), state, Nothing, minted, LOST),
        (Text(b"x"), state, Nothing, Nothing, LOST),
        (Text(b"123456789"), state, Nothing, smaller, NOT_MINTED),
        (Text(&large), state, Nothing, minted, LOST),
        (Text(&large), state, Nothing, Nothing, LOST),
        (elsewhere, state, Nothing, minted, LOST),
        // The entry of the minted batch is unreadable too.
        (Nothing, state, Nothing, Text(b"x"), LOST),
        // The tag's own state.
        (held, Text(b""), Nothing, minted, LOST),
        (held, Text(&[0; 2]), Nothing, minted, LOST),
        (held, Text(&[0; 24]), Nothing, minted, LOST),
        (held, Text(&large), Nothing, minted, LOST),
        (held, AList, Nothing, minted, LOST),
        // Its revocation.
        (held, Nothing, Text(b"{}"), minted, MINTED),
        (held, state, Text(b""), minted, MINTED),
        (held, Nothing, AList, minted, LOST),
        (held, AList, Text(b"{}"), minted, REVOKED),
        (held, Text(&[0; 2]), Text(b"{}"), minted, REVOKED),
    ] {
        hold(&mut connection, "b:7", batch).await;
        hold(&mut connection, "t", state).await;
        hold(&mut connection, "tr", revocation).await;
        let () = redis::cmd("DEL").arg("bn").query_async(&mut connection).await.unwrap();
        if let Text(numbers) = numbers {
            let mut command = redis::cmd("HSET");
            let () = command.arg("bn").arg("7").arg(numbers).query_async(&mut connection).await.unwrap();
        }
        let case = format!("{batch:.40?} {state:.40?} {revocation:?} {numbers:?}");
        assert_eq!(judged(&mut connection).await, expected, "{case}");
    }
    hold(&mut connection, "b:7", Nothing).await;
    hold(&mut connection, "bn", AList).await;
    assert_eq!(judged(&mut connection).await, LOST, "the cases cannot be distinguished");
}

#[tokio::test]
async fn a_record_is_sent_unless_the_caller_holds_that_revision() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    let (batch, latest) = (batch(7), u32::MAX);
    let bytes = batch.encode(latest);
    for (held, sent) in [(-1, true), (i64::from(latest), false), (i64::from(latest) - 1, true), (0, true)] {
        let (_, record, _) = others(&mut connection, Some((&batch, latest)), (3, 0, held), ("", "x")).await;
        assert_eq!(record, if sent { bytes.clone() } else { Vec::new() }, "{held}");
    }
    assert!(others(&mut connection, None, (3, 0, -1), ("", "x")).await.1.is_empty());
    let product = Product {
        id: batch.product_id,
        tenant: batch.tenant,
        name: "Product".to_owned(),
        brand: "Acme".to_owned(),
        gtin: None,
        created_at: batch.created_at,
        updated_at: batch.created_at,
    };
    assert!(product.encode(9).starts_with(&[0, 0, 0, 9]), "a product has its revision at the same place");
}

#[tokio::test]
async fn a_deployment_is_recognised_by_the_prefix_of_its_record() {
    let redis = RedisServer::start().await;
    let mut connection = redis.connection().await;
    for (record, same) in [
        ("{\"id\":\"ab\",\"x\":1}", true),
        ("{\"id\":\"ab\"", true),
        ("{\"id\":\"abc\"}", false),
        ("{\"id\":\"a", false),
        ("", false),
        (" {\"id\":\"ab\"}", false),
    ] {
        assert_eq!(
            others(&mut connection, None, (3, 0, -1), (record, "{\"id\":\"ab\"")).await.2,
            same,
            "{record}"
        );
    }
}
