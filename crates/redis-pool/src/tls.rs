//! Certificates for `rediss://` addresses.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo};
use x509_parser::pem::Pem;

/// What a TLS connection presents, and which authorities it trusts. `Debug` shows no certificate and no key.
#[derive(Clone)]
pub struct TlsCertificates {
    /// An address that has them: the library shows its parsed certificates nowhere else.
    address: ConnectionAddr,
    client_end: Option<i64>,
    authority_end: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    certificate: &'static str,
}

/// Returns the Unix time at which the first of the certificates in PEM text expires.
fn first_end(pem: &str) -> Option<i64> {
    let blocks = Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
    let ends = blocks.filter_map(|block| Some(block.parse_x509().ok()?.validity().not_after.timestamp()));
    ends.min()
}

/// PEM text that cannot be used. Never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsCertificates {
    /// Reads PEM text: `client` is the certificate chain and the private key that the server asks for,
    /// `authority` the certificates to trust instead of the machine's.
    ///
    /// # Errors
    /// When a text is no PEM, or holds no certificate or key.
    pub fn from_pem(client: Option<(&str, &str)>, authority: Option<&str>) -> Result<Self, TlsError> {
        let has = |text: &str, what: &str| text.contains("-----BEGIN ") && text.contains(what);
        if client.is_some_and(|(chain, _)| !has(chain, "CERTIFICATE-----")) {
            return Err(TlsError("the client certificate holds no PEM block CERTIFICATE".to_owned()));
        }
        if authority.is_some_and(|text| !has(text, "CERTIFICATE-----")) {
            return Err(TlsError("the authority holds no PEM block CERTIFICATE".to_owned()));
        }
        let certificates = redis::TlsCertificates {
            client_tls: client.map(|(chain, key)| ClientTlsConfig {
                client_cert: chain.as_bytes().to_vec(),
                client_key: key.as_bytes().to_vec(),
            }),
            root_cert: authority.map(|text| text.as_bytes().to_vec()),
        };
        let chain = client.map(|(chain, _)| chain);
        // The library parses certificates only together with an address.
        let client = Client::build_with_tls("rediss://localhost", certificates);
        let client = client.map_err(|error| TlsError(error.to_string()))?;
        let address = client.get_connection_info().addr().clone();
        let client_end = chain.and_then(first_end);
        Ok(Self { address, client_end, authority_end: authority.and_then(first_end) })
    }

    /// Registers `redis_tls_certificate_end_timestamp_seconds{certificate}`: when the certificates that the
    /// process has loaded expire. It is 0 without them.
    pub fn register_ends(certificates: Option<&Self>, registry: &mut Registry) {
        let family = Family::<CertificateLabel, Gauge>::default();
        for (certificate, end) in [
            ("client", certificates.and_then(|loaded| loaded.client_end)),
            ("authority", certificates.and_then(|loaded| loaded.authority_end)),
        ] {
            family.get_or_create_owned(&CertificateLabel { certificate }).set(end.unwrap_or_default());
        }
        registry.register_with_unit(
            "redis_tls_certificate_end_timestamp",
            "Unix time at which the first of the loaded certificates for Redis expires; 0 without one",
            Unit::Seconds,
            family,
        );
    }

    /// The same address with these certificates; one without TLS stays as it is.
    pub(crate) fn apply(&self, info: ConnectionInfo) -> ConnectionInfo {
        match (info.addr().clone(), self.address.clone()) {
            (
                ConnectionAddr::TcpTls { host, port, insecure, .. },
                ConnectionAddr::TcpTls { tls_params, .. },
            ) => info.set_addr(ConnectionAddr::TcpTls { host, port, insecure, tls_params }),
            _ => info,
        }
    }
}

impl std::fmt::Debug for TlsCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsCertificates(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_no_certificate_is_refused_and_not_shown() {
        for (client, authority) in [
            (Some(("hunter2", "hunter2")), None),
            (None, Some("hunter2")),
            (None, Some("")),
            (Some(("-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n", "hunter2")), None),
        ] {
            let error = TlsCertificates::from_pem(client, authority).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    /// Returns PEM text of a certificate that expires at the end of that year.
    fn certificate(last_year: i32) -> String {
        let mut params = rcgen::CertificateParams::new(vec!["redis".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_metric_has_the_end_of_the_first_certificate_that_expires() {
        let both = certificate(2031) + &certificate(2029);
        let certificates = TlsCertificates::from_pem(None, Some(&both)).unwrap();
        let shown = |certificates| {
            let mut registry = Registry::default();
            TlsCertificates::register_ends(certificates, &mut registry);
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let text = shown(Some(&certificates));
        // 2029-12-31T00:00:00Z
        assert!(text.contains("seconds{certificate=\"authority\"} 1893369600"), "{text}");
        assert!(text.contains("seconds{certificate=\"client\"} 0"), "{text}");
        assert!(shown(None).contains("seconds{certificate=\"authority\"} 0"));
    }
}
