//! An optional JSON body.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use http_edge::{ApiBytes, ApiJson};
use problems::ApiError;
use serde::Deserialize;
use utoipa::ToSchema;

/// A JSON body, or the default value if the request has none.
pub(crate) struct OrDefault<T>(pub(crate) T);

impl<T: for<'de> Deserialize<'de> + Default + ToSchema, S: Send + Sync> FromRequest<S> for OrDefault<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let whole = Request::from_parts(parts.clone(), body);
        let ApiBytes(bytes) = ApiBytes::from_request(whole, state).await?;
        if bytes.is_empty() && !parts.headers.contains_key(CONTENT_TYPE) {
            return Ok(Self(T::default()));
        }
        let ApiJson(value) =
            ApiJson::from_request(Request::from_parts(parts, Body::from(bytes)), state).await?;
        Ok(Self(value))
    }
}
