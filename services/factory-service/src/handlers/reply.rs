//! Builds answers as bytes, so that an answer can be stored and replayed unchanged.

use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use idempotency::StoredResponse;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Bytes of the hash in an `ETag`.
const ETAG_BYTES: usize = 16;

/// An answer to the client.
#[derive(Debug)]
pub(crate) struct Reply(pub(crate) StoredResponse);

/// Returns 200 with a representation: a JSON body and its `ETag`.
pub(crate) fn shown(body: &impl Serialize) -> StoredResponse {
    versioned(json(StatusCode::OK, None, body))
}

/// Returns 201 with `Location` and the new resource's representation.
pub(crate) fn created_and_shown(location: String, body: &impl Serialize) -> StoredResponse {
    versioned(json(StatusCode::CREATED, Some(location), body))
}

/// Returns 200 with a JSON body that has no version.
pub(crate) fn ok(body: &impl Serialize) -> StoredResponse {
    json(StatusCode::OK, None, body)
}

/// Returns 201 with `Location` and a JSON body that has no version.
pub(crate) fn created(location: String, body: &impl Serialize) -> StoredResponse {
    json(StatusCode::CREATED, Some(location), body)
}

fn json(status: StatusCode, location: Option<String>, body: &impl Serialize) -> StoredResponse {
    StoredResponse {
        status: status.as_u16(),
        content_type: Some("application/json".to_owned()),
        location,
        etag: None,
        body: bytes(body),
    }
}

fn versioned(answer: StoredResponse) -> StoredResponse {
    StoredResponse { etag: Some(etag_of(&answer.body)), ..answer }
}

/// Returns the version of a representation as a strong `ETag`.
pub(crate) fn etag_of(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    format!("\"{}\"", hex::encode(&hash[..ETAG_BYTES]))
}

/// Serialises a JSON body.
pub(crate) fn bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("plain data always serialises")
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let StoredResponse { status, content_type, location, etag, body } = self.0;
        let mut response = body.into_response();
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        let mut set = |name: HeaderName, text: Option<String>| {
            if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
                headers.insert(name, value);
            }
        };
        set(CONTENT_TYPE, content_type);
        set(LOCATION, location);
        set(ETAG, etag);
        response
    }
}
