//! The pages: they need no scripts, and are safe with every product name.

use audit_chain::payload_hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::Withdrawal;
use catalog::store::TagRevocation;
use redis::AsyncCommands;
use reqwest::Method;

use crate::app::{Answer, open, send};
use crate::shop::{SIZE, Shop, now};

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {text}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end} in {text}")).0
}

/// Checks that the page runs and loads nothing, and that its policy allows only its style sheet.
fn assert_locked_down(page: &Answer) {
    let policy = page.header("content-security-policy").unwrap();
    let style = between(&page.text, "<style>", "</style>");
    let hash = STANDARD.encode(payload_hash(style.as_bytes()).as_bytes());
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.contains("form-action 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    for forbidden in
        ["<script", " style=", " onclick", "javascript:", "http://", "https://", "<connection", "<img"]
    {
        assert!(!page.text.contains(forbidden), "{forbidden} in {}", page.text);
    }
}

#[tokio::test]
async fn a_scan_by_page_counts_and_shows_the_product() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    for text in [shop.tag(0).crockford().to_string(), shop.tag(0).to_string()] {
        let page = app.get(&format!("/t/{text}")).await;
        page.assert_page(200);
        assert_locked_down(&page);
        for shown in ["Genuine", "Acme", "Serum 30 ml", "4006381333931", "spring", "First scanned"] {
            assert!(page.text.contains(shown), "{shown} is not in {}", page.text);
        }
        assert!(page.text.contains("<html lang=\"en\">") && page.text.contains("name=\"viewport\""));
    }
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["scan_count"], 3);
    assert_eq!(app.scans("active").await, 3);
}

#[tokio::test]
async fn the_manufacturing_date_is_in_its_own_time_zone() {
    let mut shop = Shop::open().await;
    shop.batch.manufactured_at = Some(time::macros::datetime!(2026-03-01 05:00 +9));
    shop.save().await;
    let app = open(&shop, &[]).await;
    let page = app.get(&format!("/t/{}", shop.tag(0))).await;
    assert!(page.text.contains("<dd>2026-03-01</dd>"), "{}", page.text);
}

#[tokio::test]
async fn names_are_escaped() {
    let mut shop = Shop::open().await;
    shop.product.name = "</title><script>alert(1)</script>".to_owned();
    shop.product.brand = "\"><img src=x onerror=alert(1)> & Söhne".to_owned();
    shop.batch.label = Some("<b>&amp;</b>'".to_owned());
    shop.save().await;
    let app = open(&shop, &[]).await;
    let page = app.get(&format!("/t/{}", shop.tag(0))).await;
    page.assert_page(200);
    assert_locked_down(&page);
    assert!(page.text.contains("&#60;script&#62;") || page.text.contains("&lt;script&gt;"), "{}", page.text);
    assert!(page.text.contains("Söhne") && !page.text.contains("<b>"), "{}", page.text);
    let verdict = app.scan(shop.tag(0)).await.verdict();
    assert_eq!(verdict["product"]["name"], shop.product.name, "JSON has the name unchanged");
}

#[tokio::test]
async fn each_lifecycle_and_a_high_risk_has_its_wording() {
    let mut shop = Shop::open().await;
    let app = open(&shop, &[("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let path = format!("/t/{}", shop.tag(0));
    let withdrawal = Some(Withdrawal { at: now(), reason: "r".to_owned() });
    for _ in 0..4 {
        assert!(app.get(&path).await.text.contains(">Genuine<"));
    }
    let reloaded = app.get(&path).await.text;
    assert!(reloaded.contains(">Genuine<") && reloaded.contains("65 of 100"), "{reloaded}");
    assert!(!reloaded.contains("look closely") && !reloaded.contains("copied"), "{reloaded}");
    let other = app.request(Method::GET, &path).header("x-forwarded-for", "203.0.113.7");
    let copied = send(other).await.text;
    assert!(copied.contains("look closely") && copied.contains("Somebody else"), "{copied}");
    shop.batch.expires_at = Some(now());
    shop.save().await;
    assert!(app.get(&path).await.text.contains(">Expired<"));
    shop.batch.recalled = withdrawal;
    shop.save().await;
    assert!(app.get(&path).await.text.contains(">Recalled<"));
    shop.revoke_tag(0).await;
    let page = app.get(&path).await.text;
    assert!(page.contains(">Not valid any more<"), "{page}");
}

#[tokio::test]
async fn the_form_of_the_page_is_accepted() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let page = app.get(&format!("/t/{}", shop.tag(0).crockford())).await.text;
    let form = between(&page, "<form", "</form>");
    assert!(form.contains("method=\"post\""), "{form}");
    let action = between(form, "action=\"", "\"");
    let reasons: Vec<&str> =
        form.split("name=\"reason\" value=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert_eq!(reasons.len(), 5, "{form}");
    for reason in reasons {
        let answer = app.post_form(action, &[("reason", reason), ("details", "")]).await;
        answer.assert_page(202);
        assert_locked_down(&answer);
    }
}

#[tokio::test]
async fn errors_are_pages_with_the_status_of_the_json_errors() {
    let shop = Shop::open().await;
    let settings = [("RATE_LIMIT_IP_PER_MINUTE", "2"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let app = open(&shop, &settings).await;
    let tag = shop.tag(0);
    let get = |path: String| app.request(Method::GET, &path);
    let form = |body: Vec<u8>| {
        let request = app.request(Method::POST, &format!("/t/{tag}/report"));
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    assert_eq!(app.scan(&tag).await.status, 200);
    for (status, request, words) in [
        (400, get("/t/nonsense".to_owned()), "Not a VokeTag"),
        (400, form(b"reason=%3Cscript%3E".to_vec()), "could not be read"),
        (404, get("/t/00000000-0000-0000-0000-000000000000".to_owned()), "Not a genuine tag"),
        (404, get("/t/a/b".to_owned()), "Nothing here"),
        (404, get(format!("/t/{}", shop.tag(SIZE))), "Not a genuine tag"),
        (405, app.request(Method::DELETE, &format!("/t/{tag}")), "could not be read"),
        (413, form(vec![b'a'; 100_000]), "could not be read"),
        (429, get(format!("/t/{tag}")), "Too many checks"),
        (429, form(b"reason=other".to_vec()), "Too many checks"),
    ] {
        let answer = send(request).await;
        answer.assert_page(status);
        assert_locked_down(&answer);
        assert!(answer.text.contains(words), "{status}: {}", answer.text);
        assert!(answer.text.contains(answer.header("x-request-id").unwrap()), "{status}");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 429);
        // The tag that was never minted was looked up and charged.
        assert_eq!(answer.has_rate(), status == 429 || answer.text.contains(&shop.tag(SIZE).to_string()));
        if status == 429 {
            let wait = answer.retry_after();
            assert!(answer.text.contains(&format!("You can try again in {wait} second")), "{}", answer.text);
            assert!(answer.text.contains("href=\"\">Try again<"), "{}", answer.text);
        }
    }
    shop.flush().await;
    // A client with quota left: a cached denial would be returned before any call to Redis.
    let lost = send(get(format!("/t/{tag}")).header("x-forwarded-for", "203.0.113.7")).await;
    lost.assert_page(503);
    assert_locked_down(&lost);
    assert!(lost.text.contains("says nothing about the item"));
    assert!(
        lost.text.contains(&format!("You can try again in {} second", lost.retry_after())),
        "{}",
        lost.text
    );
    assert!(lost.text.contains("href=\"\">Try again<"), "{}", lost.text);
    assert!(!lost.text.contains("redis") && !lost.text.contains("Redis"), "{}", lost.text);
}

#[tokio::test]
async fn the_page_of_a_tag_never_minted_equals_that_of_a_forged_one() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let page = |tag: &str, answer: &Answer| {
        answer.text.replace(answer.header("x-request-id").unwrap(), "").replace(tag, "")
    };
    let (zero, unminted) = ("00000000-0000-0000-0000-000000000000", shop.tag(SIZE).to_string());
    let forged = app.get(&format!("/t/{zero}")).await;
    let never = app.get(&format!("/t/{unminted}")).await;
    forged.assert_page(404);
    never.assert_page(404);
    assert_eq!(page(zero, &forged), page(&unminted, &never));
    assert!(forged.text.contains("What to look at") && forged.text.contains("<form"), "{}", forged.text);
}

/// Checks that the page shows no risk.
fn assert_no_risk(page: &str) {
    assert!(!page.contains("Risk") && !page.contains("of 100"), "{page}");
}

#[tokio::test]
async fn a_withdrawn_tag_shows_the_reason_and_no_risk() {
    let mut shop = Shop::open().await;
    shop.batch.expires_at = Some(time::macros::datetime!(2031-05-01 00:00 UTC));
    shop.save().await;
    let app = open(&shop, &[]).await;
    let path = format!("/t/{}", shop.tag(0));
    let genuine = app.get(&path).await.text;
    assert!(genuine.contains("<dt>Risk</dt><dd>low (0 of 100)</dd>"), "{genuine}");
    assert!(genuine.contains("<dt>Expires on</dt><dd>2031-05-01</dd>"), "{genuine}");

    shop.batch.recalled = Some(Withdrawal { at: now(), reason: "glass <splinters> in the lid".to_owned() });
    shop.save().await;
    let recalled = app.get(&path).await.text;
    assert!(recalled.contains(">glass &#60;splinters&#62; in the lid</blockquote>"), "{recalled}");
    assert!(recalled.contains(&format!("Recalled on {}", now().date())), "{recalled}");
    assert!(recalled.contains("<dt>Expires on</dt><dd>2031-05-01</dd>"), "{recalled}");
    assert_no_risk(&recalled);

    shop.revoke_tag(1).await;
    let mut connection = shop.redis.connection().await;
    let serial = shop.tag_keys.open(&shop.tag(1)).unwrap().serial();
    let word = TagRevocation { withdrawal: Withdrawal { at: now(), reason: "stolen in Lyon".to_owned() } };
    let () = connection.set(catalog::keys::tag_revocation(serial), word.encode()).await.unwrap();
    let revoked = app.get(&format!("/t/{}", shop.tag(1))).await.text;
    assert!(
        revoked.contains(">Not valid any more<") && revoked.contains(">stolen in Lyon</blockquote>"),
        "{revoked}"
    );
    assert_no_risk(&revoked);

    shop.batch.revoked = Some(Withdrawal { at: now(), reason: "a test run".to_owned() });
    shop.save().await;
    let batch = app.get(&path).await.text;
    assert!(batch.contains(">Not valid any more<") && batch.contains(">a test run</blockquote>"), "{batch}");
    assert!(!batch.contains("splinters"), "{batch}");
    assert_no_risk(&batch);

    (shop.batch.revoked, shop.batch.recalled) = (None, None);
    shop.batch.expires_at = Some(now() - time::Duration::days(2));
    shop.save().await;
    let expired = app.get(&path).await.text;
    let date = (now() - time::Duration::days(2)).date();
    assert!(expired.contains(&format!("<dt>Expired on</dt><dd>{date}</dd>")), "{expired}");
    assert_no_risk(&expired);
}

#[tokio::test]
async fn every_stored_or_received_text_is_isolated_for_its_direction() {
    let mut shop = Shop::open().await;
    shop.product.name = "קרם\u{202E} 30 ml".to_owned();
    shop.product.brand = "مثال".to_owned();
    shop.batch.label = Some("דגם (א)".to_owned());
    shop.batch.recalled = Some(Withdrawal { at: now(), reason: "زجاج".to_owned() });
    shop.save().await;
    let app = open(&shop, &[]).await;
    let page = app.get(&format!("/t/{}", shop.tag(0))).await.text;
    let title = between(&page, "<title>", "</title>");
    assert_eq!(title, "Recalled · \u{2068}مثال\u{2069} \u{2068}קרם 30 ml\u{2069}");
    for isolated in [
        "<bdi class=\"brand\">مثال</bdi>",
        "<bdi class=\"name\">קרם\u{202E} 30 ml</bdi>",
        "<bdi>דגם (א)</bdi>",
        "<blockquote dir=\"auto\">زجاج</blockquote>",
        // The brand is not verified, so the page speaks in the name of the issuer.
        "<dt>Issued by</dt><dd><bdi>Acme Ltd</bdi></dd>",
        "What <bdi>Acme Ltd</bdi> says",
        "Send report to <bdi>Acme Ltd</bdi>",
        "<textarea id=\"details\" name=\"details\" maxlength=\"1000\" dir=\"auto\">",
    ] {
        assert!(page.contains(isolated), "{isolated} is not in {page}");
    }
    // Nothing outside these elements has the texts.
    let body = between(&page, "<body>", "</body>");
    assert_eq!((body.matches("مثال").count(), body.matches("Acme").count()), (1, 3), "{body}");
    assert_eq!((body.matches("קרם").count(), body.matches("דגם").count()), (1, 1), "{body}");
    let none = app.get("/t/%D7%A9%D7%9C%D7%95%D7%9D%20x").await;
    none.assert_page(400);
    assert!(none.text.contains("Code <bdi>שלום x</bdi>"), "{}", none.text);
    assert!(none.text.contains("action=\"/t/%D7%A9%D7%9C%D7%95%D7%9D%20x/report\""), "{}", none.text);
}

#[tokio::test]
async fn the_home_page_says_what_the_service_is() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let home = app.get("/").await;
    home.assert_page(200);
    assert_locked_down(&home);
    assert!(home.text.contains("genuine") && home.text.contains("href=\"/docs/\""), "{}", home.text);
    for link in ["/docs/", "/openapi.json"] {
        assert_eq!(app.get(link).await.status, 200, "{link}");
    }
    for (path, kind) in [("/favicon.ico", "image/x-icon"), ("/robots.txt", "text/plain; charset=utf-8")] {
        let file = app.get(path).await;
        assert_eq!((file.status, file.header("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(file.header("cache-control"), Some("public, max-age=86400"), "{path}");
        assert!(!file.text.is_empty());
    }
    assert!(app.get("/robots.txt").await.text.contains("\nUser-agent: *\n"));
    assert!(
        home.header("content-security-policy").unwrap().contains("img-src 'self'"),
        "the policy allows the icon"
    );
}
