//! The health check of a container: what it asks, and which answers content it.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use http_edge::healthcheck;

/// Answers one connection with these bytes, and gives back the request's head.
fn answering(bind: &str, answer: &'static str) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind(bind).unwrap();
    let addr = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        stream.write_all(answer.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        head
    });
    (addr, served)
}

#[test]
fn a_ready_service_contents_it_on_whatever_address_it_listens() {
    for bind in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let (addr, served) = answering(bind, "HTTP/1.1 200 OK\r\n\r\n{}");
        healthcheck(addr).unwrap();
        let head = served.join().unwrap();
        assert_eq!(head[0], "GET /v1/ready HTTP/1.1", "{bind}");
        assert!(head.iter().any(|line| line.starts_with("Host: ")), "{head:?}");
    }
}

#[test]
fn any_other_answer_is_an_error_that_says_it() {
    for (answer, said) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\n{\"detail\":\"not ready: redis\"}\n",
            "{\"detail\":\"not ready: redis\"}",
        ),
        ("HTTP/1.1 2000 Odd\r\n\r\nodd", "odd"),
        ("", "no answer"),
        ("nonsense", "no answer"),
    ] {
        let (addr, served) = answering("127.0.0.1:0", answer);
        assert_eq!(healthcheck(addr).unwrap_err().to_string(), said);
        served.join().unwrap();
    }
}

#[test]
fn nobody_listening_is_an_error() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(healthcheck(free).is_err());
}

#[test]
fn an_answer_that_drips_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let dripping = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Each byte comes sooner than a single read would be given up.
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(healthcheck(addr).unwrap_err().kind(), ErrorKind::TimedOut);
    dripping.join().unwrap();
}
