//! Extractors with the errors of the public contract, docs/contract.md §5.
//!
//! They parse with axum and serde, and are stricter:
//!
//! - A field that cannot be read is a 400 that names the field, never a 422.
//! - A repeated field is an error, and so is text that is not UTF-8: the form decoder would replace it by
//!   `U+FFFD`.
//! - An unknown field is an error if `T` has `#[serde(deny_unknown_fields)]`.
//! - A repeated JSON member is an error if `T` is a struct. A map keeps the last one.
//! - An array is not accepted for an object. With [`as_name`], an object is not accepted for a name.

use crate::body::{TooManyBodies, TooSlow};
use crate::error::HttpError;
use crate::field_help::{not_an_object, unreadable_body, unreadable_path, unreadable_query};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody, PathRejection};
use axum::extract::{Form, FromRequest, FromRequestParts, Path, Query, Request};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Method};
use serde::de::value::StringDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IntoDeserializer};
use std::error::Error;
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, ToSchema};

/// The limit of fields in a query or form, because finding duplicates compares every two fields.
const MAX_FIELDS: usize = 64;

const FORM: &str = "application/x-www-form-urlencoded";

/// A JSON body, which must be an object.
///
/// Errors: 415 if the media type is neither `application/json` nor `application/…+json`, or if the body has a
/// content coding; 400 if the body is not an object or a field cannot be read; 413 or 408 if it is too long
/// or too slow.
#[derive(Debug)]
pub struct ApiJson<T>(pub T);

/// The fields of the query string. A field may occur once.
#[derive(Debug)]
pub struct ApiQuery<T>(pub T);

/// The parameters of the path.
#[derive(Debug)]
pub struct ApiPath<T>(pub T);

/// A form body (`application/x-www-form-urlencoded`). A field may occur once.
#[derive(Debug)]
pub struct ApiForm<T>(pub T);

/// The whole body as bytes, within the limits of the edge.
#[derive(Debug)]
pub struct ApiBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for ApiBytes {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| body_error(&rejection))
    }
}

impl<T: DeserializeOwned + ToSchema, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        check_type(request.headers(), "application/json", is_json)?;
        let ApiBytes(bytes) = ApiBytes::from_request(request, state).await?;
        // serde accepts an array for a struct and reads its elements as the fields in declaration order.
        if json_begins_with(&bytes).is_some_and(|first| first != b'{') {
            return Err(not_an_object(&schema_of::<T>()));
        }
        match Json::<T>::from_bytes(&bytes) {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(unreadable_body("the JSON body", &schema_of::<T>(), &rejection)),
        }
    }
}

impl<T: DeserializeOwned + IntoParams, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HttpError> {
        check_fields(parts.uri.query().unwrap_or_default().as_bytes(), "the query")?;
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let query = parts.uri.query().unwrap_or_default().as_bytes();
                let declared = T::into_params(|| Some(ParameterIn::Query));
                let declared: Vec<_> =
                    declared.into_iter().filter_map(|one| serde_json::to_value(one).ok()).collect();
                Err(unreadable_query(&declared, |name| value_of(query, name), &rejection))
            }
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let rejection = match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => return Ok(Self(value)),
            Err(rejection) => rejection,
        };
        let PathRejection::FailedToDeserializePathParams(failed) = rejection else {
            return Err(HttpError::internal(rejection));
        };
        Err(match failed.kind() {
            ErrorKind::WrongNumberOfParameters { .. } | ErrorKind::UnsupportedType { .. } => {
                HttpError::internal(failed)
            }
            kind => unreadable_path(kind),
        })
    }
}

impl<T: DeserializeOwned + ToSchema, S: Send + Sync> FromRequest<S> for ApiForm<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        check_type(request.headers(), FORM, |kind| kind.eq_ignore_ascii_case(FORM))?;
        let ApiBytes(bytes) = ApiBytes::from_request(request, state).await?;
        check_fields(&bytes, "the form")?;
        let mut buffered = Request::new(Body::from(bytes));
        *buffered.method_mut() = Method::POST;
        buffered.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(FORM));
        match Form::<T>::from_request(buffered, &()).await {
            Ok(Form(value)) => Ok(Self(value)),
            Err(rejection) => Err(unreadable_body("the form", &schema_of::<T>(), &rejection)),
        }
    }
}

/// Returns the value of the header `name` as text, or `None` if there is no such header.
///
/// # Errors
///
/// Returns `invalid-request` if the header is repeated or its value is not visible ASCII.
pub fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, HttpError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HttpError::invalid_request(format!("the header {name} is given more than once")));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(HttpError::invalid_request(format!("the header {name} takes visible ASCII only"))),
    }
}

/// Rejects a body whose media type is not `wanted`, or that has a content coding.
fn check_type(headers: &HeaderMap, wanted: &str, is_wanted: impl Fn(&str) -> bool) -> Result<(), HttpError> {
    let kind = header_text(headers, &CONTENT_TYPE)?.unwrap_or_default();
    if !is_wanted(kind.split(';').next().unwrap_or_default().trim()) {
        return Err(HttpError::UnsupportedMediaType(format!("the body must be {wanted}").into()));
    }
    let coding = header_text(headers, &CONTENT_ENCODING)?.unwrap_or("identity");
    if !coding.eq_ignore_ascii_case("identity") {
        return Err(HttpError::UnsupportedMediaType(
            "the body must be sent without a content-encoding".into(),
        ));
    }
    Ok(())
}

fn is_json(media_type: &str) -> bool {
    let lower = media_type.to_ascii_lowercase();
    lower == "application/json" || (lower.starts_with("application/") && lower.ends_with("+json"))
}

/// Reads an enum without data from the text of its name, for `#[serde(deserialize_with =
/// "http_edge::as_name")]`.
///
/// Without it serde also accepts `{"name": null}`.
///
/// # Errors
///
/// Fails if the value is not a text, or if it is not one of the names.
pub fn as_name<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let name: StringDeserializer<D::Error> = String::deserialize(deserializer)?.into_deserializer();
    T::deserialize(name)
}

/// Returns the first byte that is not JSON white space (RFC 8259 §2).
fn json_begins_with(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

fn schema_of<T: ToSchema>() -> serde_json::Value {
    serde_json::to_value(T::schema()).unwrap_or_default()
}

/// Returns the value of the field `name` of a query.
fn value_of(encoded: &[u8], name: &str) -> Option<String> {
    let pairs =
        encoded.split(|&byte| byte == b'&').map(|pair| match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        });
    let value = pairs.into_iter().find(|(field, _)| decoded(field) == name.as_bytes())?.1;
    Some(String::from_utf8_lossy(&decoded(value)).into_owned())
}

fn body_error(rejection: &BytesRejection) -> HttpError {
    if let BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) = rejection {
        return HttpError::ContentTooLarge;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(rejection);
    while let Some(error) = cause {
        if error.is::<TooSlow>() {
            return HttpError::RequestTimeout;
        }
        if error.is::<TooManyBodies>() {
            return HttpError::service_overloaded(ambient::entropy::random_u64());
        }
        cause = error.source();
    }
    HttpError::invalid_request("the request body could not be read to its end")
}

/// Rejects a query or form (`what`) with text that is not UTF-8, a repeated field or too many fields.
fn check_fields(encoded: &[u8], what: &str) -> Result<(), HttpError> {
    field_names(encoded, what).map(drop)
}

/// Returns the names of the fields of a query or form (`what`), in their order.
///
/// # Errors
///
/// Returns `invalid-request` for text that is not UTF-8, a repeated field, or too many fields.
pub(crate) fn field_names(encoded: &[u8], what: &str) -> Result<Vec<String>, HttpError> {
    let mut names: Vec<String> = Vec::new();
    for pair in encoded.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        let Ok(name) = String::from_utf8(decoded(name)) else {
            return Err(HttpError::invalid_request(format!("{what} has a field name that is not UTF-8")));
        };
        if std::str::from_utf8(&decoded(value)).is_err() {
            return Err(HttpError::invalid_request(format!("{name} in {what} takes UTF-8 text")));
        }
        if names.contains(&name) {
            return Err(HttpError::invalid_request(format!("{what} has {name} more than once")));
        }
        if names.len() == MAX_FIELDS {
            return Err(HttpError::invalid_request(format!("{what} takes at most {MAX_FIELDS} fields")));
        }
        names.push(name);
    }
    Ok(names)
}

/// Decodes `application/x-www-form-urlencoded` text. An invalid escape stands for itself, as in the WHATWG
/// URL standard, which the parser of [`Query`] follows.
fn decoded(text: &[u8]) -> Vec<u8> {
    let nibble = |byte: Option<&u8>| byte.and_then(|&b| char::from(b).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escape = (nibble(text.get(at + 1)), nibble(text.get(at + 2)));
        match (byte, escape) {
            (b'%', (Some(high), Some(low))) => {
                bytes.push(u8::try_from(high * 16 + low).expect("two hex digits are a byte"));
                at += 2;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_invalid_ones_stand_for_themselves() {
        for (text, bytes) in [
            ("a+b", &b"a b"[..]),
            ("%41%2b", b"A+"),
            ("%ff", b"\xff"),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%zz1", b"%zz1"),
        ] {
            assert_eq!(decoded(text.as_bytes()), bytes);
        }
    }

    #[test]
    fn repeated_fields_are_found_in_spite_of_escapes() {
        assert!(check_fields(b"a=1&b=2&&", "the query").is_ok());
        assert!(check_fields(b"a=1&%61=2", "the query").is_err());
        assert!(check_fields(b"a&a", "the query").is_err());
        assert!(check_fields(b"a=%ff", "the query").is_err());
        assert!(check_fields(b"%ff=a", "the query").is_err());
        let many: Vec<String> = (0..=MAX_FIELDS).map(|n| format!("f{n}=1")).collect();
        assert!(check_fields(many[1..].join("&").as_bytes(), "the query").is_ok());
        assert!(check_fields(many.join("&").as_bytes(), "the query").is_err());
    }

    #[test]
    fn only_json_media_types_are_json() {
        for good in ["application/json", "APPLICATION/JSON", "application/merge-patch+json"] {
            assert!(is_json(good));
        }
        for bad in ["", "text/json", "application/jsonx", "application/x-www-form-urlencoded"] {
            assert!(!is_json(bad));
        }
    }

    #[test]
    fn a_header_is_one_value_of_visible_ascii() {
        let name = HeaderName::from_static("x-api-key");
        let mut headers = HeaderMap::new();
        assert!(header_text(&headers, &name).unwrap().is_none());
        headers.append(&name, "abc".parse().unwrap());
        assert_eq!(header_text(&headers, &name).unwrap(), Some("abc"));
        headers.append(&name, "abc".parse().unwrap());
        assert_eq!(header_text(&headers, &name).unwrap_err().slug(), "invalid-request");
        headers.insert(&name, http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(header_text(&headers, &name).unwrap_err().slug(), "invalid-request");
    }
}
