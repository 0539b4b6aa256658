//! The routes of the factory's API, and its OpenAPI document.

use access::Scope;
use axum::Router;
use http_edge::api_doc::{Common, ProblemBody};
use http_edge::{QueryParameters, docs_routes, without_head};
use utoipa::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::document;
use crate::guarded::needing;
use crate::handlers::admin::{
    api_key, api_keys, audit as admin_audit, keyring, keyring_preview, keyring_revocation, tenant, tenants,
    unproven_reports,
};
use crate::handlers::{audit, audit_export, batch, batches, export, ops, product, products, tag, verify};
use crate::state::AppState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "VokeTag factory-service",
        description = "Mints tags, revokes and recalls them, and keeps the audit trail. Every error is an \
                       application/problem+json document (RFC 9457).",
    ),
    tags(
        (name = "products", description = "The products that carry tags"),
        (name = "batches", description = "Mint, export, revoke and recall batches"),
        (name = "tags", description = "Show and revoke single tags"),
        (name = "audit", description = "Read, verify and export the audit trail"),
        (name = "admin", description = "Tenants, API keys and the keyring, for operators"),
        (name = "operation", description = "Health and readiness"),
    ),
    components(schemas(ProblemBody, verify::VerifyRequest, keyring_preview::ConfirmationBody)),
    servers(
        (url = "/", description = "The service that serves this document"),
        (url = "http://127.0.0.1:8081", description = "The default of `BIND_ADDR`"),
    ),
    security(("bearer" = []), ("api_key" = [])),
    modifiers(&Common)
)]
struct ApiDoc;

/// Returns all routes, and the query parameters that they declare.
pub(crate) fn router(state: AppState) -> (Router, QueryParameters) {
    let (api, mut document) = api(&state).split_for_parts();
    document::complete(&mut document);
    let parameters = QueryParameters::declared_in(&document);
    (api.merge(docs_routes(document)).with_state(state), parameters)
}

fn api(state: &AppState) -> OpenApiRouter<AppState> {
    let write = |routes| needing(state, Scope::FactoryWrite, routes);
    let read = |routes| needing(state, Scope::FactoryRead, routes);
    let audit = |routes| needing(state, Scope::AuditRead, routes);
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(write(routes!(products::create)))
        .routes(read(routes!(products::list)))
        .routes(read(routes!(product::show)))
        .routes(write(routes!(product::change)))
        .routes(write(routes!(batches::create)))
        .routes(read(routes!(batches::list)))
        .routes(read(routes!(batch::show)))
        .routes(write(routes!(batch::revoke)))
        .routes(write(routes!(batch::recall)))
        .routes(audited_read(read(routes!(export::export)), "GET"))
        .routes(read(routes!(tag::show)))
        .routes(read(routes!(tag::qr)))
        .routes(write(routes!(tag::revoke)))
        .routes(audit(routes!(audit::events)))
        .routes(audit(routes!(audit::head)))
        .routes(audit(routes!(verify::verify)))
        .routes(audit(routes!(audit::checkpoint)))
        .routes(audit(routes!(audit_export::export)))
        .routes(audit(routes!(audit_export::keys)))
        .merge(admin(state))
        .routes(routes!(ops::health))
        .routes(routes!(ops::ready))
}

/// Returns the routes for operators.
fn admin(state: &AppState) -> OpenApiRouter<AppState> {
    let admin = |routes| needing(state, Scope::Admin, routes);
    OpenApiRouter::new()
        .routes(audited_read(admin(routes!(tenants::create, tenants::list)), "GET, POST"))
        .routes(audited_read(admin(routes!(tenant::show, tenant::change)), "GET, PATCH"))
        .routes(admin(routes!(tenant::suspend)))
        .routes(admin(routes!(tenant::resume)))
        .routes(audited_read(admin(routes!(api_keys::create, api_keys::list)), "GET, POST"))
        .routes(audited_read(admin(routes!(api_key::show)), "GET"))
        .routes(admin(routes!(api_key::rotate)))
        .routes(admin(routes!(api_key::revoke)))
        .routes(audited_read(admin(routes!(keyring::list)), "GET"))
        .routes(admin(routes!(keyring::add)))
        .routes(admin(routes!(keyring::activate)))
        .routes(admin(routes!(keyring::retire)))
        .routes(admin(routes!(keyring_revocation::revoke)))
        .routes(admin(routes!(keyring_revocation::correct_date)))
        .routes(admin(routes!(keyring::destroy)))
        .routes(audited_read(admin(routes!(admin_audit::export)), "GET"))
        .routes(audited_read(admin(routes!(unproven_reports::list)), "GET"))
}

/// Removes `HEAD` from routes whose `GET` appends an event: the event would record a read without
/// a result.
fn audited_read(routes: UtoipaMethodRouter<AppState>, allow: &'static str) -> UtoipaMethodRouter<AppState> {
    routes.map(|routes| without_head(routes, allow))
}
