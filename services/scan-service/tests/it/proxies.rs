//! A request is charged to its peer, unless the peer is a trusted proxy that forwards the address of its
//! client.

use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::app::{App, open, send};
use crate::shop::Shop;

async fn remaining(app: &App, shop: &Shop, forwarded: &[&str]) -> u64 {
    let mut headers = HeaderMap::new();
    for line in forwarded {
        headers.append("x-forwarded-for", line.parse().unwrap());
    }
    let path = format!("/v1/scan/{}", shop.tag(0));
    send(app.request(Method::GET, &path).headers(headers)).await.rate().remaining
}

#[tokio::test]
async fn a_header_of_an_untrusted_peer_changes_nothing() {
    let shop = Shop::open().await;
    for (region, proxies) in [("a", "10.0.0.0/8"), ("b", "::1, 192.0.2.1")] {
        let app = open(&shop, &[("REGION", region), ("TRUSTED_PROXIES", proxies)]).await;
        let mut left = 100;
        for line in ["203.0.113.1", "203.0.113.2", "10.0.0.1", "127.0.0.1", "nonsense", ""] {
            left -= 1;
            assert_eq!(remaining(&app, &shop, &[line]).await, left, "{line:?}");
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_distinguishes_clients() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")]).await;
    assert_eq!(remaining(&app, &shop, &["203.0.113.1"]).await, 99);
    assert_eq!(remaining(&app, &shop, &["203.0.113.2"]).await, 99, "another caller");
    assert_eq!(remaining(&app, &shop, &["203.0.113.1:4711"]).await, 98, "the port does not matter");
    assert_eq!(remaining(&app, &shop, &["::ffff:203.0.113.1"]).await, 97, "IPv4-mapped is IPv4");
    assert_eq!(remaining(&app, &shop, &["198.51.100.9, 203.0.113.1, 10.1.2.3"]).await, 96, "from the right");
    assert_eq!(remaining(&app, &shop, &["198.51.100.9", "203.0.113.1"]).await, 95, "lines are joined");
    assert_eq!(
        remaining(&app, &shop, &["203.0.113.1, junk, 10.1.2.3"]).await,
        99,
        "the search stops at the last valid address"
    );
    assert_eq!(remaining(&app, &shop, &["10.1.2.3"]).await, 98, "that address was 10.1.2.3");
    assert_eq!(remaining(&app, &shop, &[]).await, 99, "no header: the proxy itself");
}

#[tokio::test]
async fn ipv6_clients_count_by_their_first_64_bits() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    assert_eq!(remaining(&app, &shop, &["2001:db8:1:2::1"]).await, 99);
    assert_eq!(remaining(&app, &shop, &["[2001:db8:1:2:ffff:ffff:ffff:ffff]:443"]).await, 98);
    assert_eq!(remaining(&app, &shop, &["2001:db8:1:3::1"]).await, 99);
}
