//! Certificates for `rediss://` addresses.

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo};

/// What a TLS connection presents, and which authorities it trusts. `Debug` shows no certificate and no key.
#[derive(Clone)]
pub struct TlsCertificates(
    /// An address that has them: the library shows its parsed certificates nowhere else.
    ConnectionAddr,
);

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
        // The library parses certificates only together with an address.
        let client = Client::build_with_tls("rediss://localhost", certificates);
        let client = client.map_err(|error| TlsError(error.to_string()))?;
        Ok(Self(client.get_connection_info().addr().clone()))
    }

    /// The same address with these certificates; one without TLS stays as it is.
    pub(crate) fn apply(&self, info: ConnectionInfo) -> ConnectionInfo {
        match (info.addr().clone(), self.0.clone()) {
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
}
