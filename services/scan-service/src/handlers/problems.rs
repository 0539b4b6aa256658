//! The error responses of the OpenAPI document, in groups. A route lists the groups that apply to it.

use std::collections::BTreeMap;

use http_edge::api_doc::{problems, retry_after_header};
use utoipa::IntoResponses;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, RefOr};

/// Errors of every route that takes a tag.
pub(crate) struct TagErrors;
/// Further errors of every route that reads a body.
pub(crate) struct BodyErrors;
/// Errors of routes that append an audit event.
pub(crate) struct AppendErrors;
/// Errors of routes that read the limiter's Redis and take no tag.
pub(crate) struct LimiterErrors;

/// Errors of every page that takes a tag: those of the routes below `/v1`, as pages.
pub(crate) struct PageErrors;

impl IntoResponses for TagErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            ("400", "`invalid-tag-id`; `invalid-request` for anything else that cannot be read"),
            ("401", "`unauthenticated`: the API key is not accepted"),
            ("403", "`forbidden`: the key lacks the scope `scan:partner`"),
            ("404", "`tag-not-found`: the id is forged or was never minted"),
            ("429", "`rate-limited` or `service-overloaded`; `Retry-After`"),
            ("500", "`internal`: a fault of the service; its log has the cause under the `request_id`"),
            ("503", "`redis-unavailable`, `state-lost` or `server-timeout`; `Retry-After`"),
        ])
    }
}

impl IntoResponses for BodyErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            ("408", "`request-timeout`: the body arrived too slowly"),
            ("413", "`content-too-large`: more than 64 KiB"),
            ("415", "`unsupported-media-type`: not `application/json`"),
        ])
    }
}

impl IntoResponses for LimiterErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            ("429", "`service-overloaded`: no Redis permit came free in time; `Retry-After`"),
            ("500", "`internal`: a fault of the service; its log has the cause under the `request_id`"),
            ("503", "`redis-unavailable` or `server-timeout`; `Retry-After`"),
        ])
    }
}

impl IntoResponses for PageErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let page = || {
            let text = ObjectBuilder::new().schema_type(Type::String).build();
            let page = Content::new(Some(RefOr::T(Schema::from(text))));
            ResponseBuilder::new()
                .description("The error of the same request below `/v1`, as an HTML page")
                .content("text/html", page)
                .header("Retry-After", retry_after_header())
                .build()
        };
        ["4XX", "5XX"].map(|status| (status.to_owned(), RefOr::T(page()))).into()
    }
}

impl IntoResponses for AppendErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(
            "503",
            "`redis-unavailable`, `state-lost`, `audit-contention` or `server-timeout`; `Retry-After`",
        )])
    }
}
