//! A Redis behind TLS that asks for a client certificate.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use redis_pool::{PoolError, RedisUrl, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use test_support::{RedisServer, eventually};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{PATIENCE, config, echo, pool_of, text};

/// What is made here cannot fail.
const WELL_FORMED: &str = "certificates and sockets of the test are good";

/// An authority, and a certificate and key that it issued for 127.0.0.1, in PEM.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect(WELL_FORMED);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect(WELL_FORMED)).expect(WELL_FORMED),
        )
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().expect(WELL_FORMED);
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect(WELL_FORMED);
        (params.signed_by(&key, &self.0).expect(WELL_FORMED).pem(), key.serialize_pem())
    }
}

/// Speaks TLS on a port of its own, asks for a certificate of `authority`, and passes on what is inside to
/// `redis`.
async fn terminator(redis: &RedisServer, authority: &Authority) -> u16 {
    let (chain, key) = authority.issue();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect(WELL_FORMED))
        .expect(WELL_FORMED);
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect(WELL_FORMED);
    let config = ServerConfig::builder().with_client_cert_verifier(verifier);
    let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect(WELL_FORMED)];
    let config = config
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).expect(WELL_FORMED))
        .expect(WELL_FORMED);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect(WELL_FORMED);
    let (port, inside) = (listener.local_addr().expect(WELL_FORMED).port(), redis.port());
    tokio::spawn(async move {
        while let Ok((outside, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(outside).await?;
                let mut inside = TcpStream::connect(("127.0.0.1", inside)).await?;
                copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    port
}

#[tokio::test]
async fn a_client_certificate_is_presented_and_without_it_nothing_is_served() {
    let redis = RedisServer::start().await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let port = terminator(&redis, &authority).await;
    let url: RedisUrl = format!("rediss://127.0.0.1:{port}").parse().unwrap();
    let (chain, key) = authority.issue();
    let (foreign_chain, foreign_key) = stranger.issue();

    let trusted = authority.pem();
    let good = TlsCertificates::from_pem(Some((&chain, &key)), Some(&trusted)).unwrap();
    let served = pool_of(config(url.clone().with_certificates(&good), 10, 5_000));
    eventually("it is served", PATIENCE, || async {
        served.command(echo("hello")).await.is_ok_and(|reply| text(reply) == "hello")
    })
    .await;

    for (client, authority) in [
        (None, trusted.as_str()),
        (Some((foreign_chain.as_str(), foreign_key.as_str())), trusted.as_str()),
        (Some((chain.as_str(), key.as_str())), stranger.pem().as_str()),
    ] {
        let certificates = TlsCertificates::from_pem(client, Some(authority)).unwrap();
        let refused = pool_of(config(url.clone().with_certificates(&certificates), 10, 500));
        let outcome = refused.command(echo("hello")).await;
        assert!(matches!(outcome, Err(PoolError::Unavailable { .. })), "{outcome:?}");
    }
}
