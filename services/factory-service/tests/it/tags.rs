//! Single tags: show, QR code and revocation.

use catalog::keys;
use redis::AsyncCommands;
use serde_json::json;
use tag_id::{BatchNo, Epoch, MasterSecret, TagId, TagIndex, TagKeys};

use crate::support::{FORGED, SECRET, SLOWLY, start, start_behind_proxy, text};

fn tag_keys() -> TagKeys {
    TagKeys::new(Some(MasterSecret::from_hex(SECRET).unwrap()), [])
}

fn serial_of(tag: &str) -> [u8; 6] {
    tag_keys().open(&TagId::parse(tag).unwrap()).unwrap().serial()
}

#[tokio::test]
async fn showing_a_tag_does_not_count_a_scan() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(5).await;
    let row = &factory.tags(&batch, "?from=3&limit=1").await[0];
    let (id, short) = (text(&row["tag_id"]), text(&row["crockford"]));
    let tag = factory.get(&format!("/v1/tags/{id}")).await.expect(200);
    assert_eq!(
        tag,
        json!({
            "tag_id": id, "crockford": short, "url": row["url"],
            "epoch": 1, "batch_no": batch["batch_no"], "index": 3,
            "batch_id": batch["id"], "product_id": batch["product_id"],
            "lifecycle": "active", "valid": true, "scan_count": 0,
        })
    );
    for form in [id.to_uppercase(), short.clone(), short.to_lowercase()] {
        assert_eq!(factory.get(&format!("/v1/tags/{form}")).await.expect(200), tag);
    }
    factory.assert_chain_of(3).await;
}

#[tokio::test]
async fn scans_are_shown_and_survive_a_revocation() {
    let (redis, factory) = start().await;
    let batch = factory.batch(1).await;
    let id = text(&factory.tags(&batch, "").await[0]["tag_id"]);
    let mut state = vec![0_u8];
    state.extend(7_u32.to_be_bytes());
    state.extend(&1_000_u64.to_be_bytes()[2..]);
    state.extend(&61_500_u64.to_be_bytes()[2..]);
    state.extend([0xff; 6]);
    let key = keys::tag(serial_of(&id));
    let mut connection = redis.connection().await;
    let _: () = connection.set(&key, &state).await.unwrap();
    let tag = factory.get(&format!("/v1/tags/{id}")).await.expect(200);
    assert_eq!(tag["scan_count"], 7);
    assert_eq!(tag["first_scan_at"], "1970-01-01T00:00:01.000Z");
    assert_eq!(tag["last_scan_at"], "1970-01-01T00:01:01.500Z");
    let revoked =
        factory.post(&format!("/v1/tags/{id}/revoke"), &json!({"reason": "stolen"})).await.expect(200);
    assert_eq!((&revoked["scan_count"], &revoked["lifecycle"]), (&json!(7), &json!("revoked")));
    assert_eq!(factory.get(&format!("/v1/tags/{id}")).await.expect(200), revoked);
    let stored: Vec<u8> = connection.get(&key).await.unwrap();
    assert_eq!((stored[0], &stored[1..]), (1, &state[1..]));
}

#[tokio::test]
async fn a_second_revocation_keeps_the_first_reason_and_appends_no_event() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(2).await;
    let rows = factory.tags(&batch, "").await;
    let (id, other) = (text(&rows[0]["tag_id"]), text(&rows[1]["tag_id"]));
    let path = format!("/v1/tags/{id}/revoke");
    let first = factory.post(&path, &json!({"reason": "stolen"})).await.expect(200);
    assert_eq!((&first["valid"], &first["revoked"]["reason"]), (&json!(false), &json!("stolen")));
    assert_eq!(factory.post(&path, &json!({"reason": "lost"})).await.expect(200), first);
    assert_eq!(factory.get(&format!("/v1/tags/{id}")).await.expect(200), first);
    assert_eq!(factory.get(&format!("/v1/tags/{other}")).await.expect(200)["valid"], true);
    let events = factory.events().await;
    assert_eq!(
        (&events[3]["action"], &events[3]["resource"]),
        (&json!("tag.revoked"), &json!(format!("tag/{id}")))
    );
    assert_eq!(events[3]["details"], json!({"reason": "stolen", "batch_id": batch["id"]}));
    factory.assert_chain_of(4).await;
}

#[tokio::test]
async fn concurrent_revocations_leave_one_event_and_one_reason() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    let batch = factory.batch(1).await;
    let path = format!("/v1/tags/{}/revoke", text(&factory.tags(&batch, "").await[0]["tag_id"]));
    let reasons = [json!({"reason": "a"}), json!({"reason": "b"}), json!({"reason": "c"})];
    proxy.delay(SLOWLY);
    let (a, b, c) = tokio::join!(
        factory.post(&path, &reasons[0]),
        factory.post(&path, &reasons[1]),
        factory.post(&path, &reasons[2]),
    );
    let (a, b, c) = (a.expect(200), b.expect(200), c.expect(200));
    assert_eq!((&a, &a), (&b, &c));
    factory.assert_chain_of(4).await;
}

#[tokio::test]
async fn the_state_of_a_tag_follows_its_batch() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(1).await;
    let tag = format!("/v1/tags/{}", text(&factory.tags(&batch, "").await[0]["tag_id"]));
    for (how, lifecycle) in [("recall", "recalled"), ("revoke", "revoked")] {
        let path = format!("/v1/batches/{}/{how}", text(&batch["id"]));
        factory.post(&path, &json!({"reason": "r"})).await.expect(200);
        let seen = factory.get(&tag).await.expect(200);
        assert_eq!((&seen["lifecycle"], &seen["valid"]), (&json!(lifecycle), &json!(false)));
        assert!(seen.get("revoked").is_none(), "the tag itself is not revoked");
    }
}

#[tokio::test]
async fn forged_unminted_and_malformed_ids_are_distinguished_as_in_the_contract() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(4).await;
    let number = BatchNo::new(u32::try_from(batch["batch_no"].as_u64().unwrap()).unwrap()).unwrap();
    let mint = |epoch: u16, index: u32| {
        tag_keys()
            .mint(Epoch::new(epoch).unwrap(), number, TagIndex::new(index).unwrap())
            .unwrap()
            .to_string()
    };
    factory.get(&format!("/v1/tags/{}", mint(1, 3))).await.expect(200);
    let mut bodies = Vec::new();
    for unknown in
        [FORGED.to_owned(), mint(1, 4), mint(2, 0), "00000000-0000-0000-0000-000000000000".to_owned()]
    {
        for path in [format!("/v1/tags/{unknown}"), format!("/v1/tags/{unknown}/qr.svg")] {
            bodies.push(factory.get(&path).await.expect_problem(404, "tag-not-found"));
        }
        let revoke = format!("/v1/tags/{unknown}/revoke");
        bodies
            .push(factory.post(&revoke, &json!({"reason": "r"})).await.expect_problem(404, "tag-not-found"));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answer does not reveal the reason: {bodies:?}");
    for wrong in ["x", "%ff", "85e49ec3de128001bccf0ce2e6986017", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "%20"] {
        factory.get(&format!("/v1/tags/{wrong}")).await.expect_problem(400, "invalid-tag-id");
        factory.get(&format!("/v1/tags/{wrong}/qr.svg")).await.expect_problem(400, "invalid-tag-id");
    }
    factory.assert_chain_of(2).await;
}

#[tokio::test]
async fn a_qr_code_encodes_the_url() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(1).await;
    let row = &factory.tags(&batch, "").await[0];
    let qr = factory.get(&format!("/v1/tags/{}/qr.svg", text(&row["crockford"]))).await;
    assert_eq!((qr.status, qr.header("content-type")), (200, "image/svg+xml"));
    assert_eq!(read_qr(&qr.text), text(&row["url"]));
    factory.assert_chain_of(3).await;
}

/// Decodes a QR code with another library than the one that drew it, from the dark rectangles of the SVG.
fn read_qr(svg: &str) -> String {
    let number = |text: &str| text.parse::<usize>().unwrap();
    let attribute = |name: &str| {
        let begin = svg.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        number(svg[begin..].split('"').next().unwrap())
    };
    let (width, height) = (attribute("width"), attribute("height"));
    let mut dark = vec![false; width * height];
    let path = svg.rsplit(" d=\"").next().unwrap().split('"').next().unwrap();
    // Each module is `M<x> <y>h<width>v<height>H<x>V<y>`.
    for module in path.split('M').skip(1) {
        let numbers: Vec<usize> =
            module.split(|c: char| !c.is_ascii_digit()).filter(|text| !text.is_empty()).map(number).collect();
        let (x, y, wide, high) = (numbers[0], numbers[1], numbers[2], numbers[3]);
        for row in y..y + high {
            dark[row * width + x..row * width + x + wide].fill(true);
        }
    }
    let mut picture =
        rqrr::PreparedImage::prepare_from_greyscale(
            width,
            height,
            |x, y| {
                if dark[y * width + x] { 0 } else { 255 }
            },
        );
    let codes = picture.detect_grids();
    assert_eq!(codes.len(), 1, "one code in the image");
    codes[0].decode().unwrap().1
}

#[tokio::test]
async fn a_tag_without_a_state_is_revoked_by_its_revocation_record() {
    let (redis, factory) = start().await;
    let batch = factory.batch(1).await;
    let id = text(&factory.tags(&batch, "").await[0]["tag_id"]);
    let path = format!("/v1/tags/{id}/revoke");
    let revoked = factory.post(&path, &json!({"reason": "stolen"})).await.expect(200);
    let events = factory.events().await.len();
    let _: () = redis.connection().await.del(keys::tag(serial_of(&id))).await.unwrap();
    let shown = factory.get(&format!("/v1/tags/{id}")).await.expect(200);
    assert_eq!((&shown["lifecycle"], &shown["valid"]), (&json!("revoked"), &json!(false)));
    assert_eq!(shown, revoked);
    assert_eq!(factory.post(&path, &json!({"reason": "lost"})).await.expect(200), revoked);
    assert_eq!(factory.events().await.len(), events, "no second event");
}
