//! The table of contents of the factory's API, and its OpenAPI document.

use axum::Router;
use axum::routing::{MethodFilter, on};
use http_edge::api_doc::ProblemBody;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::handlers::{audit, batch, batches, export, ops, product, products, tag};
use crate::state::AppState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "VokeTag factory-service",
        description = "Mints tags, takes them back, and keeps the audit trail. Every refusal is an application/problem+json \
                       document (RFC 9457).",
    ),
    tags(
        (name = "products", description = "What tags are on"),
        (name = "batches", description = "Minting, exporting and taking back"),
        (name = "tags", description = "Single tags"),
        (name = "audit", description = "The audit trail"),
        (name = "operation", description = "Running the service"),
    ),
    components(schemas(ProblemBody, audit::VerifyRequest)),
    security(("bearer" = []), ("api_key" = [])),
    modifiers(&Keys)
)]
struct ApiDoc;

/// The two ways to show a key.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(header));
    }
}

/// All routes.
pub(crate) fn router(state: AppState) -> Router {
    let (api, document) = api().split_for_parts();
    api.route("/v1/batches/{id}/tags", on(MethodFilter::HEAD, export::head))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .with_state(state)
}

fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(products::create, products::list))
        .routes(routes!(product::show, product::change))
        .routes(routes!(batches::create, batches::list))
        .routes(routes!(batch::show))
        .routes(routes!(batch::revoke))
        .routes(routes!(batch::recall))
        .routes(routes!(export::export))
        .routes(routes!(tag::show))
        .routes(routes!(tag::qr))
        .routes(routes!(tag::revoke))
        .routes(routes!(audit::events))
        .routes(routes!(audit::head))
        .routes(routes!(audit::verify))
        .routes(routes!(ops::health))
        .routes(routes!(ops::ready))
}
