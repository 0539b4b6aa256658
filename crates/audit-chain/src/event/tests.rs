//! An event and its canonical bytes.

use super::*;
use crate::event::limits::{MAX_SAFE_INTEGER, MAX_UNIX_MILLIS};
use crate::event::timestamp::parse_time;
use proptest::prelude::*;

const ID: Uuid = Uuid::from_u128(0x019c6652_5e00_7000_8000_000000000001);

fn from_json(event: &serde_json::Value) -> Event {
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    let detail = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => DetailValue::from(text.as_str()),
        serde_json::Value::Bool(value) => DetailValue::from(*value),
        serde_json::Value::Null => DetailValue::Null,
        number => DetailValue::Int(SafeInt::try_from(number.as_i64().unwrap()).unwrap()),
    };
    let what = NewEvent {
        tenant: text("tenant"),
        actor: text("actor"),
        action: text("action"),
        resource: text("resource"),
        request_id: text("request_id"),
        ip: event["ip"].as_str().map(|ip| ip.parse().unwrap()),
        details: event["details"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), detail(v))).collect(),
    };
    let nonce = hex::decode(text("nonce")).unwrap().try_into().unwrap();
    let millis = parse_time(&text("ts")).unwrap();
    Event::new(millis, text("id").parse().unwrap(), nonce, what).unwrap()
}

#[test]
fn canonical_bytes_follow_the_published_vectors() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../docs/vectors.json")).unwrap();
    let entries = vectors["audit"]["entries"].as_array().unwrap();
    assert!(entries.len() >= 4);
    for entry in entries {
        let event = from_json(&entry["event"]);
        assert_eq!(std::str::from_utf8(event.payload()).unwrap(), entry["canonical"].as_str().unwrap());
        assert_eq!(Event::parse(event.payload()).unwrap(), event);
    }
}

#[test]
fn an_event_has_at_most_16_kib() {
    let with = |letters: usize| {
        let details = Details::new().with("text", "x".repeat(letters));
        Event::new(0, ID, [0; 16], NewEvent { details, ..NewEvent::sample() })
    };
    let overhead = with(0).unwrap().payload().len();
    assert_eq!(with(MAX_EVENT_BYTES - overhead).unwrap().payload().len(), MAX_EVENT_BYTES);
    let too_large = EventError::TooLarge { bytes: MAX_EVENT_BYTES + 1 };
    assert_eq!(with(MAX_EVENT_BYTES - overhead + 1).unwrap_err(), too_large);
}

#[test]
fn only_version_7_ids_are_accepted() {
    let v4 = Uuid::from_u128(0x019c6652_5e00_4000_8000_000000000001);
    let odd_variant = Uuid::from_u128(0x019c6652_5e00_7000_c000_000000000001);
    for id in [v4, odd_variant, Uuid::nil()] {
        assert_eq!(Event::new(0, id, [0; 16], NewEvent::sample()).unwrap_err(), EventError::IdVersion);
    }
}

#[test]
fn times_after_the_year_9999_are_rejected() {
    let last = Event::new(MAX_UNIX_MILLIS, ID, [0; 16], NewEvent::sample()).unwrap();
    assert!(last.payload().ends_with(b"\"ts\":\"9999-12-31T23:59:59.999Z\"}"));
    let unix_millis = MAX_UNIX_MILLIS + 1;
    assert_eq!(
        Event::new(unix_millis, ID, [0; 16], NewEvent::sample()).unwrap_err(),
        EventError::Time { unix_millis }
    );
}

#[test]
fn days_and_addresses_that_do_not_exist_are_rejected() {
    let good = Event::new(
        1_771_243_200_000,
        ID,
        [0; 16],
        NewEvent { ip: Some([192, 0, 2, 1].into()), ..NewEvent::sample() },
    );
    let good = String::from_utf8(good.unwrap().payload).unwrap();
    for (from, to) in [
        ("02-16T", "02-30T"),
        ("T12:", "T25:"),
        ("192.0.2.1", "192.0.2.256"),
        ("192.0.2.1", "::0"),
        ("2026-", "1969-"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        assert!(Event::parse(bad.as_bytes()).is_err(), "{to}");
    }
}

fn any_value() -> impl Strategy<Value = DetailValue> {
    prop_oneof![
        any::<String>().prop_map(DetailValue::Str),
        any::<bool>().prop_map(DetailValue::Bool),
        Just(DetailValue::Null),
        (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER)
            .prop_map(|value| DetailValue::Int(SafeInt::from_bounded(value))),
    ]
}

prop_compose! {
    fn any_event()(
        texts in any::<[String; 5]>(),
        ip in any::<Option<IpAddr>>(),
        pairs in prop::collection::vec((any::<String>(), any_value()), 0..12),
        unix_millis in 0..=MAX_UNIX_MILLIS,
        random in any::<[u8; 10]>(),
        nonce in any::<[u8; 16]>(),
    ) -> Event {
        let [tenant, actor, action, resource, request_id] = texts;
        let details = pairs.into_iter().collect();
        let what = NewEvent { tenant, actor, action, resource, request_id, ip, details };
        Event::new(unix_millis, ambient::uuid_v7_from(unix_millis, random), nonce, what).unwrap()
    }
}

proptest! {
    #[test]
    fn an_event_is_read_back_from_its_bytes(event in any_event()) {
        prop_assert_eq!(&Event::parse(event.payload()).unwrap(), &event);
    }

    #[test]
    fn serde_json_reads_the_same_members_in_utf16_order(event in any_event()) {
        let read: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
        prop_assert_eq!(read["tenant"].as_str().unwrap(), &event.what().tenant);
        prop_assert_eq!(read["details"].as_object().unwrap().len(), event.what().details.iter().len());
        let keys = event.what().details.iter().map(|(key, _)| key.encode_utf16().collect());
        let keys: Vec<Vec<u16>> = keys.collect();
        prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_changed_byte_never_reads_back_as_the_same_event(
        event in any_event(), at in any::<prop::sample::Index>(), to in any::<u8>(),
    ) {
        let mut bytes = event.payload().to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(read) = Event::parse(&bytes) {
            prop_assert_ne!(&read, &event);
            prop_assert_eq!(read.payload(), &bytes);
            let again = Event::new(read.unix_millis, read.id, read.nonce, read.what).unwrap();
            prop_assert_eq!(again.payload(), &bytes);
        }
    }
}
