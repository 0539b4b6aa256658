//! Codes, layouts and packing are the same in Rust and in the scripts.

use redis::{Script, Value};
use tag_id::{BatchNo, Epoch, Opened, TagIndex};
use test_support::RedisServer;

use crate::domain::scan_protocol::codes::{CountedBy, ScanStatus, lua_constants};
use crate::domain::scan_protocol::input::{LimitedScanInput, PresentedKey, ScanInput, SharedRecords};
use crate::domain::scan_protocol::reply::{LimitedReply, ScanOutcome, ScanReply};

async fn run(main: &str, argument: &[u8]) -> Value {
    let redis = RedisServer::start().await;
    let script = Script::new(&[&lua_constants(), main].concat());
    script.arg(argument).invoke_async(&mut redis.connection().await).await.unwrap()
}

#[test]
fn codes_do_not_change_between_versions() {
    let expected = "\
local SCAN_ANSWERED = '\\0'
local SCAN_STATE_LOST = '\\1'
local SCAN_NOT_MINTED = '\\2'
local SCAN_DENIED = '\\3'
local SCAN_KEY_INVALID = '\\4'
local SCAN_KEY_FORBIDDEN = '\\5'
local SCAN_RECORD_LOST = '\\6'
local SCAN_BY_ADDRESS = '\\0'
local SCAN_BY_KEY = '\\1'
local SCAN_REVOKED_BIT = 1
local SCAN_SEEN_BY_OTHERS_BIT = 2
local SCAN_COUNTED_BIT = 4
local SCAN_PRODUCT_UNKNOWN = -2
local SCAN_NO_REVISION = -1
local SCAN_NO_KEY = ''
local SCAN_MALFORMED_KEY = '-'
local SCAN_REQUEST_LAYOUT = '>I2I4i8i8Bc5c5'
local SCAN_LIMITED_REQUEST_LAYOUT = '>BBI2I4i8i8Bc5c5'
local SCAN_DECISION_LAYOUT = '>c1c1i8i8i8i8i8i8i8i8i8i8i8'
local SCAN_DECISION_AND_COUNTS_LAYOUT = '>c1c1i8i8i8i8i8i8i8i8i8i8i8I6I4I6BBB'
local SCAN_COUNTS_LAYOUT = '>I6I4I6BBB'
";
    assert_eq!(lua_constants(), expected);
}

#[test]
fn each_status_and_subject_is_parsed_from_its_own_byte() {
    for byte in 0..=u8::MAX {
        assert!(ScanStatus::from_byte(byte).is_none_or(|status| status as u8 == byte), "{byte}");
        assert!(CountedBy::from_byte(byte).is_none_or(|subject| subject as u8 == byte), "{byte}");
    }
    assert_eq!(ScanStatus::from_byte(6), Some(ScanStatus::RecordLost));
    assert_eq!(ScanStatus::from_byte(7), None);
}

#[tokio::test]
async fn lua_unpacks_what_rust_packs() {
    let opened = Opened {
        batch: BatchNo::new(17).unwrap(),
        epoch: Epoch::new(0x0102).unwrap(),
        index: TagIndex::new(0x0003_0405).unwrap(),
    };
    let input = ScanInput { opened, counts: true, marks: [*b"aaaaa", *b"bbbbb"], cached: None };
    let main = "
local epoch, index, batch, product, counts, today, yesterday = struct.unpack(SCAN_REQUEST_LAYOUT, ARGV[1])
return { epoch, index, batch, product, counts, today, yesterday, struct.size(SCAN_REQUEST_LAYOUT) }";
    let packed = input.packed();
    let unpacked: (u16, u32, i64, i64, u8, String, String, usize) =
        redis::from_redis_value(run(main, &packed).await).unwrap();
    let expected = (0x0102, 0x0003_0405, -1, -2, 1, "aaaaa".to_owned(), "bbbbb".to_owned(), packed.len());
    assert_eq!(unpacked, expected);
}

#[tokio::test]
async fn scans_of_one_call_share_the_records_that_they_read() {
    let scan = |number: u32| {
        let opened = Opened {
            batch: BatchNo::new(number).unwrap(),
            epoch: Epoch::new(1).unwrap(),
            index: TagIndex::new(number).unwrap(),
        };
        let scan = ScanInput { opened, counts: true, marks: [*b"aaaaa", *b"bbbbb"], cached: None };
        LimitedScanInput { scan, address: "192.0.2.1".to_owned(), key: PresentedKey::None }
    };
    let scans = [scan(17), scan(18), scan(17)];
    let mut records = SharedRecords::default();
    let packed: Vec<_> = scans.iter().map(|input| input.packed(records.add(&input.scan))).collect();
    let main = "
local batch_at, product_at, epoch, index = struct.unpack(SCAN_LIMITED_REQUEST_LAYOUT, ARGV[1])
return { batch_at, product_at, epoch, index, struct.size(SCAN_LIMITED_REQUEST_LAYOUT) }";
    for (packed, (at, index)) in packed.iter().zip([(5, 17), (6, 18), (5, 17)]) {
        let unpacked: (u8, u8, u16, u32, usize) = redis::from_redis_value(run(main, packed).await).unwrap();
        assert_eq!(unpacked, (at, at, 1, index, packed.len()));
    }
}

#[tokio::test]
async fn rust_unpacks_what_lua_packs() {
    let counts = "struct.pack(SCAN_COUNTS_LAYOUT, 1771243200000, 7, 1771243100000, 3, 5,
        SCAN_REVOKED_BIT + SCAN_COUNTED_BIT)";
    let main = format!("return {{ SCAN_ANSWERED .. {counts}, 'batch', 'product', 'head' }}");
    let reply = ScanReply::read(run(&main, b"").await).unwrap();
    assert_eq!(reply.head, Some(Value::BulkString(b"head".to_vec())));
    let ScanOutcome::Answered(counted) = reply.outcome else { panic!("{:?}", reply.outcome) };
    assert_eq!((counted.now_ms, counted.count), (1_771_243_200_000, 7));
    assert_eq!((counted.first_at_ms, counted.in_30_s, counted.in_60_s), (Some(1_771_243_100_000), 3, 5));
    assert!(counted.revoked && counted.counted && !counted.seen_by_others);
    assert_eq!((&counted.batch[..], &counted.product[..]), (&b"batch"[..], &b"product"[..]));

    let main = "return struct.pack(
        SCAN_DECISION_LAYOUT, SCAN_DENIED, SCAN_BY_KEY, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -10)";
    let reply = LimitedReply::read(run(main, b"").await).unwrap();
    assert_eq!(reply.counted_by, CountedBy::Key);
    assert_eq!(reply.decision, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -10]);
    assert!(matches!(reply.outcome, ScanOutcome::Rejected(ScanStatus::Denied)));
}

#[test]
fn a_malformed_reply_is_an_error() {
    let bytes = |length: usize| Value::BulkString(vec![0; length]);
    for reply in [
        Value::Nil,
        bytes(0),
        bytes(1),
        bytes(1 + 18),
        bytes(1 + 20),
        Value::BulkString(vec![7; 20]),
        Value::Array(vec![bytes(20)]),
        Value::Array(vec![bytes(20), bytes(0), Value::Nil]),
        Value::Array(vec![bytes(20), bytes(0), bytes(0), bytes(0), bytes(0)]),
    ] {
        assert!(ScanReply::read(reply.clone()).is_err(), "{reply:?}");
        assert!(LimitedReply::read(reply.clone()).is_err(), "{reply:?}");
    }
    assert!(ScanReply::read(bytes(20)).is_ok());
    for length in [1, 2 + 87, 2 + 88, 2 + 88 + 18, 2 + 88 + 20] {
        assert!(LimitedReply::read(bytes(length)).is_err(), "{length} bytes");
    }
    assert!(LimitedReply::read(bytes(2 + 88 + 19)).is_ok());
    let mut subject = vec![0; 2 + 88 + 19];
    subject[1] = 2;
    assert!(LimitedReply::read(Value::BulkString(subject)).is_err(), "an unknown subject");
}
