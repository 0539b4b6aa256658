//! The HTTP client of the exporting thread. It blocks, because that thread runs no tokio.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// The size limit of a response, in bytes. A receiver says in it how many spans it rejects.
const MAX_RESPONSE: u64 = 64 * 1024;

/// Returns the certificates in PEM text, as DER. `None` means that there are none, or that one is malformed.
#[must_use]
pub fn authorities_of_pem(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut authorities = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.ok()? {
            authorities.push(certificate.der().to_vec());
        }
    }
    (!authorities.is_empty()).then_some(authorities)
}

/// A client that waits for a response within a time limit.
#[derive(Debug)]
pub(crate) struct BlockingClient(Agent);

impl BlockingClient {
    /// Creates a client that trusts `authorities`, or the public ones if there are none.
    pub(crate) fn new(timeout: Duration, authorities: &[Vec<u8>]) -> Self {
        let roots = match authorities {
            [] => RootCerts::WebPki,
            own => own.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>().into(),
        };
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Self(config.into())
    }
}

#[async_trait]
impl HttpClient for BlockingClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let response = self.0.run(Request::from_parts(parts, &body[..]))?;
        let (parts, mut body) = response.into_parts();
        let body = body.with_config().limit(MAX_RESPONSE).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}
