//! Recognises requests that no person makes: prefetches of browsers, link previews of messengers, and search
//! engines. They get the same response as others, but do not count as scans.
//!
//! The request itself says what it is. A client that lies about it only keeps its own scan from being
//! counted.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Parts of the `User-Agent` of such programs, one per line, with their sources.
const NAMES: &str = include_str!("machines.txt");

static KNOWN: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let matcher = AhoCorasick::builder().ascii_case_insensitive(true).build(names());
    matcher.expect("a few dozen short texts fit in an automaton")
});

/// The headers in which a browser says that it prefetches. `Sec-Purpose` is the standard one, with the values
/// "prefetch", "prefetch;prerender" and "prefetch;anonymous-client-ip"
/// (<https://wicg.github.io/nav-speculation/prefetch.html>). Before it, Chromium and Safari sent `Purpose`,
/// Firefox `X-Moz`, and Safari's top sites `X-Purpose`.
pub(crate) const PREFETCH_HEADERS: [&str; 4] = ["sec-purpose", "purpose", "x-moz", "x-purpose"];
/// The parts of their values that mean a prefetch.
const PREFETCH_WORDS: [&[u8]; 3] = [b"prefetch", b"prerender", b"preview"];

fn names() -> impl Iterator<Item = &'static str> {
    NAMES.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Whether this `User-Agent` is that of a link preview or a search engine.
pub(crate) fn is_machine_agent(user_agent: &[u8]) -> bool {
    KNOWN.is_match(user_agent)
}

/// Whether this value of a header in [`PREFETCH_HEADERS`] means a prefetch.
pub(crate) fn means_prefetch(value: &[u8]) -> bool {
    value.split(|byte| b";, \t".contains(byte)).any(|part| {
        let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        PREFETCH_WORDS.iter().any(|word| name.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_is_specific_and_matches_in_any_case() {
        assert!(names().count() > 50);
        for name in names() {
            assert!(name.len() >= 5 && name == name.to_ascii_lowercase(), "{name}");
            assert!(
                is_machine_agent(format!("Mozilla/5.0 (compatible; {}2.0)", name.to_uppercase()).as_bytes()),
                "{name}"
            );
        }
    }

    #[test]
    fn link_previews_and_search_engines_are_recognised_by_their_real_user_agents() {
        for agent in [
            "WhatsApp/2.23.20.0 A",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "TelegramBot (like TwitterBot)",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
            "Twitterbot/1.0",
            "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
            // iMessage
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) \
             Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; \
             +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/17.4 Mobile/15E148 Safari/604.1 (Applebot/0.1; +http://www.apple.com/go/applebot)",
        ] {
            assert!(is_machine_agent(agent.as_bytes()), "{agent}");
        }
    }

    #[test]
    fn browsers_inside_apps_and_script_clients_are_not_machines() {
        for agent in [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/18.0 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 \
             Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 \
             [FBAN/FBIOS;FBAV/480.0;FBBV/1]",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 Instagram 340.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 Twitter for iPhone/10.5",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 [LinkedInApp]/9.30",
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36 \
             Telegram-Android/11.2",
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile [Pinterest/Android]",
            "curl/8.5.0",
            "python-requests/2.31",
            "",
            "\u{ff}\u{fe}",
        ] {
            assert!(!is_machine_agent(agent.as_bytes()), "{agent}");
        }
    }

    #[test]
    fn a_prefetch_is_recognised_by_a_whole_word_of_the_header() {
        for (value, prefetch) in [
            ("prefetch", true),
            ("Prefetch", true),
            ("prefetch;prerender", true),
            ("prefetch;anonymous-client-ip", true),
            ("prefetch; prerender=?1", true),
            ("preview", true),
            ("prerender", true),
            ("", false),
            ("noprefetch", false),
            ("prefetching", false),
            ("navigate", false),
        ] {
            assert_eq!(means_prefetch(value.as_bytes()), prefetch, "{value}");
        }
    }
}
