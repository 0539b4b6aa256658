//! The error responses of the OpenAPI document, in groups. A route lists the groups that apply to it.

use std::collections::BTreeMap;

use http_edge::api_doc::problems;
use utoipa::IntoResponses;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Content, Ref, RefOr};

/// Errors of every route that needs a key.
pub(crate) struct Guarded;
/// Errors of every route that reads a path or a query.
pub(crate) struct Read;
/// Errors of every route that reads a body.
pub(crate) struct Body;
/// Errors of routes that append an audit event.
pub(crate) struct Appends;
/// Errors of routes that name a product or batch.
pub(crate) struct Named;
/// Errors of routes that name a tag.
pub(crate) struct NamedTag;
/// Errors of routes that can lose a race or do not fit the current state.
pub(crate) struct Contended;
/// Errors of routes whose consequences must be confirmed.
pub(crate) struct Confirmed;
/// Errors of the route that mints.
pub(crate) struct Mints;
/// Errors of routes that generate a batch's tags.
pub(crate) struct MakesTags;
/// Responses of routes that show a versioned resource.
pub(crate) struct Versioned;
/// Errors of routes that change a given version of a resource.
pub(crate) struct Conditional;
/// Errors of routes whose input may be well-formed and not acceptable.
pub(crate) struct Judged;

impl IntoResponses for Guarded {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            ("401", "`unauthenticated`: no key, an unknown one, or two that differ"),
            (
                "429",
                "`rate-limited`: the quota of the key, of its tenant, or of failed authentication is used \
                 up; `service-overloaded`: no Redis permit came free in time; both with `Retry-After`",
            ),
            ("500", "`internal`: a fault of the service; its log has the cause under the `request_id`"),
            ("503", "`redis-unavailable`, `state-lost` or `server-timeout`; `Retry-After`"),
        ])
    }
}

impl IntoResponses for Read {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[("400", "`invalid-request`: an id or parameter that cannot be read or is out of range")])
    }
}

impl IntoResponses for Body {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (
                "400",
                "`invalid-request`: an id or body that cannot be read, a field that is missing, unknown, \
                 repeated or out of range",
            ),
            ("408", "`request-timeout`: the body arrived too slowly"),
            ("413", "`content-too-large`: more than 64 KiB"),
            ("415", "`unsupported-media-type`: not `application/json`"),
        ])
    }
}

impl IntoResponses for Appends {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(
            "503",
            "`redis-unavailable`, `state-lost`, `audit-contention` or `server-timeout`; `Retry-After`",
        )])
    }
}

impl IntoResponses for Named {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[("404", "`not-found`: nothing has this id")])
    }
}

impl IntoResponses for NamedTag {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (
                "400",
                "`invalid-tag-id`: not an id in an accepted form; `invalid-request`: a body that cannot be \
                 read",
            ),
            ("404", "`tag-not-found`: the id is forged or was never minted"),
        ])
    }
}

impl IntoResponses for Contended {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(
            "409",
            "`conflict`: its state does not allow this, or another request changed it meanwhile; `detail` \
             says which",
        )])
    }
}

impl IntoResponses for Confirmed {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let body = Content::new(Some(Ref::from_schema_name("ConfirmationBody")));
        let text = "`confirmation-required`, with the consequences in `preview`; `conflict`, without \
                    `preview`: its state does not allow this, or another request changed it meanwhile";
        let response = ResponseBuilder::new().description(text).content("application/problem+json", body);
        [("409".to_owned(), RefOr::T(response.build()))].into()
    }
}

impl IntoResponses for Mints {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(
            "409",
            "`quota-exceeded`: the tenant has as many batches as its `max_batches` allows; `conflict`: other \
             requests were faster at each try",
        )])
    }
}

impl IntoResponses for MakesTags {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[("409", "`conflict`: the key that these tags were minted under is destroyed")])
    }
}

impl IntoResponses for Versioned {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = Conditional::responses();
        let held = Response::new("The version that `If-None-Match` names is current; no body");
        responses.insert("304".to_owned(), RefOr::T(held));
        responses
    }
}

impl IntoResponses for Conditional {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[("412", "`precondition-failed`: the current version is not one that `If-Match` names")])
    }
}

impl IntoResponses for Judged {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[("422", "`unprocessable`: a field is well-formed but not acceptable; `detail` names it")])
    }
}
