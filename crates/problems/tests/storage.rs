//! The status and slug that a client gets for each failure of a domain crate.

use std::time::Duration;

use access::AccessError;
use audit_chain::{AppendError, AppendFault, EndFault, EventError, ReadError, StateLoss};
use catalog::{CatalogError, DeploymentError, Product, Record, TagState};
use problems::ApiError;
use redis_pool::{PoolError, UnavailableReason};
use storage::{AppendFailure, GateError, StorageError};

const AWAY: Duration = Duration::from_secs(7);

fn overloaded() -> PoolError {
    PoolError::Overloaded { waited: AWAY }
}

fn unavailable() -> PoolError {
    PoolError::Unavailable { reason: UnavailableReason::BreakerOpen, retry_after: AWAY }
}

fn our_fault() -> PoolError {
    PoolError::Server { code: "WRONGTYPE".to_owned(), message: "of a key".to_owned() }
}

fn misshapen() -> PoolError {
    PoolError::Reply { what: "a map".to_owned() }
}

#[track_caller]
fn assert_is(error: ApiError, status: u16, slug: &str) {
    assert_eq!(error.slug(), slug, "{error:?}");
    let problem = error.into_problem();
    assert_eq!((problem.status().as_u16(), problem.slug()), (status, slug), "{problem:?}");
    match (status, slug) {
        (429, _) => assert!(problem.retry_after_s().is_some_and(|s| (1..=5).contains(&s)), "{problem:?}"),
        (503, "redis-unavailable") => assert_eq!(problem.retry_after_s(), Some(7)),
        (503, _) => assert!(problem.retry_after_s().is_some()),
        _ => assert_eq!(problem.retry_after_s(), None),
    }
    for told in ["WRONGTYPE", "map", "entry"] {
        assert!(!problem.detail().contains(told), "{}", problem.detail());
    }
}

#[test]
fn a_pool_without_a_reply_is_429_503_or_500() {
    assert_is(ApiError::from(overloaded()), 429, "service-overloaded");
    assert_is(ApiError::from(unavailable()), 503, "redis-unavailable");
    assert_is(ApiError::from(our_fault()), 500, "internal");
    assert_is(ApiError::from(misshapen()), 500, "internal");
}

#[test]
fn an_unreadable_record_is_lost_state() {
    assert_is(ApiError::from(CatalogError::Redis(overloaded())), 429, "service-overloaded");
    assert_is(ApiError::from(CatalogError::Redis(unavailable())), 503, "redis-unavailable");
    assert_is(CatalogError::from(Product::decode(Vec::new()).unwrap_err()).into(), 503, "state-lost");
    assert_is(CatalogError::from(TagState::parse(Some(b"ab")).unwrap_err()).into(), 503, "state-lost");
}

#[test]
fn a_missing_deployment_is_lost_state() {
    assert_is(ApiError::state_lost(), 503, "state-lost");
    assert_is(ApiError::from(DeploymentError::Lost("gone".to_owned())), 503, "state-lost");
    assert_is(ApiError::from(DeploymentError::Redis(unavailable())), 503, "redis-unavailable");
}

#[test]
fn each_failure_of_an_append_has_its_status() {
    let away = AppendError::Unavailable { maybe_written: true, retry_after: AWAY, source: unavailable() };
    for (error, status, slug) in [
        (AppendError::Contention, 503, "audit-contention"),
        (AppendError::StateLost(StateLoss::HeadAbsent { size: 3 }), 503, "state-lost"),
        (AppendError::EndFault(EndFault::Surplus { entries: 3 }), 503, "state-lost"),
        (AppendError::Overloaded { waited: AWAY }, 429, "service-overloaded"),
        (away, 503, "redis-unavailable"),
        (AppendError::Precondition { check: 0 }, 409, "conflict"),
        (AppendError::IdReused { seq: 1 }, 500, "internal"),
        (AppendError::TooLarge, 500, "internal"),
        (AppendError::Internal(AppendFault::AppenderGone), 500, "internal"),
    ] {
        assert_is(ApiError::from(error), status, slug);
    }
}

#[test]
fn a_closed_gate_is_lost_state_or_a_short_wait() {
    for (error, slug, retry_after_s) in [
        (GateError::NotRead, "redis-unavailable", 1),
        (GateError::AppendNotPermitted, "redis-unavailable", 1),
        (GateError::KeyringNotRead, "redis-unavailable", 1),
        (GateError::StateLost, "state-lost", 30),
        (GateError::RolledBack, "state-lost", 30),
    ] {
        let through = [ApiError::from(StorageError::Append(error.into())), StorageError::from(error).into()];
        for problem in through.map(ApiError::into_problem) {
            assert_eq!((problem.status().as_u16(), problem.slug()), (503, slug), "{error:?}");
            assert_eq!(problem.retry_after_s(), Some(retry_after_s), "{error:?}");
            assert_eq!(slug == "state-lost", StorageError::from(error).is_state_lost());
        }
    }
    assert!(ApiError::from(GateError::RolledBack).to_string().starts_with("rolled back: "));
}

#[test]
fn a_lost_record_is_named_and_a_fault_of_the_event_is_not() {
    let lost = StorageError::RecordLost { what: "the record of API key 7g3kx0qd".to_owned() };
    assert!(lost.is_state_lost());
    assert_is(lost.into(), 503, "state-lost");
    assert_is(AppendFailure::from(EventError::IdVersion).into(), 500, "internal");
    assert_is(AccessError::Redis(overloaded()).into(), 429, "service-overloaded");
    assert_is(AccessError::Lost { what: "tenant acme".to_owned() }.into(), 503, "state-lost");
}

#[test]
fn an_unreadable_chain_is_lost_state() {
    assert_is(ApiError::from(ReadError::StateLost(StateLoss::Forked { seq: 1 })), 503, "state-lost");
    assert_is(ApiError::from(ReadError::Redis(overloaded())), 429, "service-overloaded");
    assert_is(ApiError::from(ReadError::Damaged { seq: 1 }), 503, "state-lost");
}

#[test]
fn a_field_is_400_if_it_cannot_be_read_and_422_if_it_is_wrong() {
    let malformed = input::FieldError::malformed("size", "is 0", "1 or more", 1);
    assert_is(ApiError::from(malformed), 400, "invalid-request");
    let unacceptable = input::FieldError::unacceptable("gtin", "is 1", "a GTIN", 2);
    assert_is(ApiError::from(unacceptable), 422, "unprocessable");
    let id = ApiError::invalid_tag_id("85e49ec3de128001bccf0ce2e6986017");
    assert!(id.to_string().starts_with("tag_id is \"85e49ec3de"), "{id}");
    assert!(id.to_string().ends_with("e.g. 85e49ec3-de12-8001-bccf-0ce2e6986017"), "{id}");
    assert_is(id, 400, "invalid-tag-id");
}
