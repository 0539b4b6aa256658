//! `/docs`, which is Swagger UI, and `/openapi.json`, which it shows.
//!
//! Browsers keep the page for a minute. Its script is 1.5 MB, so the files of the page have the hash of their
//! content in their name: browsers keep them for a year, and they are sent compressed. The first request
//! hashes and compresses them.

use crate::error::HttpError;
use crate::extract::ApiPath;
use crate::path_policy::PathPolicy;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
};
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

/// What the pages below `/docs` may load: their own files. Swagger UI uses inline styles and data images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `Cache-Control` of a file whose name contains its hash.
const CACHE_FOR_A_YEAR: &str = "public, max-age=31536000, immutable";
/// `Cache-Control` of every other file.
const CACHE_FOR_A_MINUTE: &str = "public, max-age=60";
const PAGE: &str = "index.html";
/// The number of hex digits of the hash in a name.
const HASH_DIGITS: usize = 16;
/// Files up to this size are not compressed, in bytes.
const MAX_UNCOMPRESSED: usize = 1_024;

/// Returns the policy of the paths of Swagger UI.
#[must_use]
pub fn docs_policy() -> PathPolicy {
    PathPolicy::new("/docs").header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
}

/// Returns the routes `/docs` and `/openapi.json`, which serves `document`.
pub fn docs_routes<S: Clone + Send + Sync + 'static>(document: OpenApi) -> Router<S> {
    let document = Arc::new(document);
    Router::new()
        .route("/openapi.json", get(move || std::future::ready(Json(Arc::clone(&document)).into_response())))
        .route("/docs", get(|| std::future::ready(Redirect::to("/docs/"))))
        .route("/docs/", get(|headers: HeaderMap| file(PAGE.to_owned(), headers)))
        .route("/docs/{*file}", get(|ApiPath(name): ApiPath<String>, headers: HeaderMap| file(name, headers)))
}

/// One file of Swagger UI.
struct File {
    /// E.g. `swagger-ui.css`.
    name: String,
    /// E.g. `swagger-ui.0123456789abcdef.css`.
    hashed_name: String,
    content_type: HeaderValue,
    plain: Bytes,
    /// The compressed file, if it is smaller.
    gzip: Option<Bytes>,
}

async fn file(name: String, headers: HeaderMap) -> Result<Response, HttpError> {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    let files = match FILES.get() {
        Some(files) => files,
        None => {
            let files = tokio::task::spawn_blocking(files).await.map_err(HttpError::internal)?;
            let files = files.map_err(HttpError::internal)?;
            FILES.get_or_init(|| files)
        }
    };
    let file = files.iter().find(|file| file.name == name || file.hashed_name == name);
    let file = file.ok_or_else(|| HttpError::NotFound("the documentation has no such file".into()))?;
    let caching = if file.hashed_name == name { CACHE_FOR_A_YEAR } else { CACHE_FOR_A_MINUTE };
    let head = [
        (CONTENT_TYPE, file.content_type.clone()),
        (CACHE_CONTROL, HeaderValue::from_static(caching)),
        (VARY, HeaderValue::from_static("accept-encoding")),
    ];
    Ok(match file.gzip.clone().filter(|_| accepts_gzip(&headers)) {
        Some(gzip) => (head, [(CONTENT_ENCODING, "gzip")], gzip).into_response(),
        None => (head, file.plain.clone()).into_response(),
    })
}

/// Whether `Accept-Encoding` allows gzip.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let wanted = |coding: &str| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next()?;
        let q = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        Some((name.to_ascii_lowercase(), q > 0.0))
    };
    let codings: Vec<_> = values.flat_map(|value| value.split(',')).filter_map(wanted).collect();
    let of = |name: &str| codings.iter().find(|(coding, _)| coding == name).map(|(_, wanted)| *wanted);
    of("gzip").or_else(|| of("*")).unwrap_or(false)
}

/// Reads the page and the files that it uses, and changes the page to use their hashed names.
fn files() -> io::Result<Vec<File>> {
    let config = Arc::new(Config::new(["/openapi.json"]).validator_url("none"));
    let content = |name: &str| {
        let served = utoipa_swagger_ui::serve(name, Arc::clone(&config));
        let served = served.map_err(|error| io::Error::other(error.to_string()))?;
        let served = served.ok_or_else(|| io::Error::other(format!("Swagger UI has no {name}")))?;
        let content_type = HeaderValue::try_from(served.content_type).map_err(io::Error::other)?;
        io::Result::Ok((Bytes::from(served.bytes.into_owned()), content_type))
    };
    let (page, page_type) = content(PAGE)?;
    let mut page = String::from_utf8(page.to_vec()).map_err(io::Error::other)?;
    let mut files = Vec::new();
    for name in files_of(&page) {
        let (plain, content_type) = content(&name)?;
        let file = File::new(&name, plain, content_type)?;
        page = page.replace(&format!("\"./{name}\""), &format!("\"./{}\"", file.hashed_name));
        page = page.replace(&format!("\"{name}\""), &format!("\"./{}\"", file.hashed_name));
        files.push(file);
    }
    files.push(File::new(PAGE, Bytes::from(page), page_type)?);
    Ok(files)
}

/// Returns the values of `src` and `href` in the page, without `./`.
fn files_of(page: &str) -> Vec<String> {
    let links = page.split(" src=\"").skip(1).chain(page.split(" href=\"").skip(1));
    links.filter_map(|rest| Some(rest.split_once('"')?.0.trim_start_matches("./").to_owned())).collect()
}

impl File {
    fn new(name: &str, plain: Bytes, content_type: HeaderValue) -> io::Result<Self> {
        let hash = hex::encode(Sha256::digest(&plain));
        let hash = &hash[..HASH_DIGITS];
        let hashed_name = match name.rsplit_once('.') {
            Some((stem, ending)) => format!("{stem}.{hash}.{ending}"),
            None => format!("{name}.{hash}"),
        };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&plain)?;
        let gzip = Bytes::from(encoder.finish()?);
        let gzip = Some(gzip).filter(|gzip| plain.len() > MAX_UNCOMPRESSED && gzip.len() < plain.len());
        Ok(Self { name: name.to_owned(), hashed_name, content_type, plain, gzip })
    }
}
