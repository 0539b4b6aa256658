//! Opening one connection: TCP, TLS or a Unix socket, then the login.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, RedisError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::url::RedisUrl;

/// The future that moves a connection's bytes; dropping it closes the socket.
pub(crate) type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The handle to send through, and what moves its bytes.
pub(crate) type Connected = (MultiplexedConnection, Driver);

/// Connects and logs in. Takes as long as the network does: the caller sets the deadline.
pub(crate) async fn connect(url: &RedisUrl, pipeline_buffer: usize) -> Result<Connected, String> {
    match url.info().addr() {
        ConnectionAddr::Tcp(host, port) => {
            let stream = tcp(host, *port).await?;
            log_in(url, stream, pipeline_buffer).await
        }
        ConnectionAddr::TcpTls { host, port, .. } => {
            let stream = tcp(host, *port).await?;
            let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
            let stream = tls()?.connect(name, stream).await.map_err(|error| error.to_string())?;
            log_in(url, stream, pipeline_buffer).await
        }
        ConnectionAddr::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| error.to_string())?;
            log_in(url, stream, pipeline_buffer).await
        }
        other => Err(format!("{other}: this kind of address is not supported")),
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

async fn log_in<S>(url: &RedisUrl, stream: S, pipeline_buffer: usize) -> Result<Connected, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The pool sets the deadlines itself; the client's own would answer a caller and forget the reply.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(pipeline_buffer);
    let (mut connection, driver) =
        MultiplexedConnection::new_with_config(url.info().redis_settings(), stream, config)
            .await
            .map_err(|error| describe(&error))?;
    let mut driver: Driver = Box::pin(driver);
    // A server that wants a password we have not greets us all the same, and then closes the connection at the first long command.
    let ping = redis::cmd("PING");
    let greeted = tokio::select! {
        greeted = ping.query_async::<redis::Value>(&mut connection) => greeted,
        () = &mut driver => return Err("the connection broke during the login".to_owned()),
    };
    match greeted {
        Err(error) if error.code() == Some("NOAUTH") => Err(describe(&error)),
        _ => Ok((connection, driver)),
    }
}

/// What a connection error says; a login error's text comes from the server and holds no secret of ours.
pub(crate) fn describe(error: &RedisError) -> String {
    error.to_string()
}

fn tls() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("no trusted certificates on this machine (SSL_CERT_FILE names a file of them)".to_owned());
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
