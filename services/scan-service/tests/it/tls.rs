//! A Redis over TLS.

use std::path::PathBuf;
use std::sync::Arc;

use test_support::eventually;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::app::{WAIT_LIMIT, send};
use crate::process::Program;
use crate::shop::{SECRET, Shop};

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls")).join(name)
}

/// Accepts TLS on a free port and forwards to `port`, because not every redis-server supports TLS.
async fn terminator(port: u16) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((outside, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(outside).await?;
                let mut inside = TcpStream::connect(("127.0.0.1", port)).await?;
                copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    address.port()
}

#[tokio::test]
async fn a_redis_over_tls_works_if_its_certificate_is_trusted() {
    let shop = Shop::open().await;
    let url = format!("rediss://127.0.0.1:{}", terminator(shop.redis.port()).await);
    let authority = file("ca.pem");
    let settings = [("TAG_MASTER_SECRET", SECRET), ("REDIS_URL", &url)];
    let client = reqwest::Client::new();
    let ask = async |program: &Program, path: &str| {
        send(client.get(format!("http://{}{path}", program.bind))).await
    };

    let trusting = [("SSL_CERT_FILE", authority.to_str().unwrap()), ("REDIS_COMMAND_TIMEOUT_MS", "10000")];
    let program = Program::start(&[&settings[..], &trusting].concat()).await;
    eventually("the service is ready", WAIT_LIMIT, async || ask(&program, "/v1/ready").await.status == 200)
        .await;
    let scan = ask(&program, &format!("/v1/scan/{}", shop.tag(0))).await;
    assert_eq!(scan.verdict()["scan_count"], 1);

    // A certificate of another authority with the same name.
    let another = file("server.pem");
    let distrusting = [("SSL_CERT_FILE", another.to_str().unwrap())];
    let program = Program::start(&[&settings[..], &distrusting].concat()).await;
    let states_reason = async || {
        let ready = ask(&program, "/v1/ready").await;
        ready.status == 503 && ready.text.contains("certificate")
    };
    eventually("the service is not ready, and states the reason", WAIT_LIMIT, states_reason).await;
    ask(&program, &format!("/v1/scan/{}", shop.tag(0))).await.assert_problem(503, "redis-unavailable");
}
