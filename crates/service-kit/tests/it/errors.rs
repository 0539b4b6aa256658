//! Every failure of a domain crate, and the status and slug that a client is given for it.

use std::time::Duration;

use audit_chain::{AppendError, AppendFault, EndFault, ReadError, StateLoss};
use catalog::{CatalogError, DeploymentError, Product, Record, TagState};
use http_edge::ApiError;
use redis_pool::{Error, Reason};
use service_kit::durable::AppendFailure;
use service_kit::errors::{from_append, from_catalog, from_deployment, from_pool, from_read, state_lost};

const AWAY: Duration = Duration::from_secs(7);

fn overloaded() -> Error {
    Error::Overloaded { waited: AWAY }
}

fn unavailable() -> Error {
    Error::Unavailable { reason: Reason::BreakerOpen, retry_after: AWAY }
}

fn our_fault() -> Error {
    Error::Server { code: "WRONGTYPE".to_owned(), message: "of a key".to_owned() }
}

fn misshapen() -> Error {
    Error::Reply { what: "a map".to_owned() }
}

#[track_caller]
fn assert_is(error: ApiError, status: u16, slug: &str) {
    assert_eq!((error.status().as_u16(), error.slug()), (status, slug), "{error:?}");
    let problem = error.into_problem();
    match (status, slug) {
        (429, _) => assert!((1..=5).contains(&problem.retry_after_s().unwrap()), "{problem:?}"),
        (503, "redis-unavailable") => assert_eq!(problem.retry_after_s(), Some(7)),
        (503, _) => assert!(problem.retry_after_s().is_some()),
        _ => assert_eq!(problem.retry_after_s(), None),
    }
    for told in ["WRONGTYPE", "map", "entry"] {
        assert!(!problem.detail().contains(told), "{}", problem.detail());
    }
}

#[test]
fn a_pool_that_gave_no_reply() {
    assert_is(from_pool(overloaded()), 429, "service-overloaded");
    assert_is(from_pool(unavailable()), 503, "redis-unavailable");
    assert_is(from_pool(our_fault()), 500, "internal");
    assert_is(from_pool(misshapen()), 500, "internal");
}

#[test]
fn a_read_of_the_catalogue() {
    assert_is(from_catalog(CatalogError::Redis(overloaded())), 429, "service-overloaded");
    assert_is(from_catalog(CatalogError::Redis(unavailable())), 503, "redis-unavailable");
    assert_is(from_catalog(Product::decode(Vec::new()).unwrap_err().into()), 503, "state-lost");
    assert_is(from_catalog(TagState::parse(Some(b"ab")).unwrap_err().into()), 503, "state-lost");
}

#[test]
fn a_deployment_that_is_not_there() {
    assert_is(state_lost(), 503, "state-lost");
    assert_is(from_deployment(DeploymentError::Lost("gone".to_owned())), 503, "state-lost");
    assert_is(from_deployment(DeploymentError::Redis(unavailable())), 503, "redis-unavailable");
}

#[test]
fn an_event_that_was_not_acknowledged() {
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
        assert_is(from_append(error.clone()), status, slug);
        assert_is(AppendFailure::Append(error).into(), status, slug);
    }
    assert_is(AppendFailure::Closed(state_lost()).into(), 503, "state-lost");
}

#[test]
fn a_chain_that_could_not_be_read() {
    assert_is(from_read(ReadError::StateLost(StateLoss::Forked { seq: 1 })), 503, "state-lost");
    assert_is(from_read(ReadError::Redis(overloaded())), 429, "service-overloaded");
    assert_is(from_read(ReadError::Damaged { seq: 1 }), 503, "state-lost");
}
