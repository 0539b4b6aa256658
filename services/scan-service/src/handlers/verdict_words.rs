//! A verdict in words, for a person with an item in their hand.

use catalog::Lifecycle;
use time::OffsetDateTime;

use crate::domain::issuers::IssuerAnswer;
use crate::domain::risk::{RiskFactor, RiskLevel};
use crate::domain::verdict::Verdict;
use crate::handlers::page::Tone;

/// Adapts a verdict to its issuer. If the brand is not verified, the page does not speak in its name and is
/// not green.
pub(crate) fn issued(
    issuer: &IssuerAnswer,
    (tone, headline, advice): (Tone, &'static str, &'static str),
) -> (Tone, &'static str, String) {
    match tone {
        _ if issuer.verified => (tone, headline, advice.to_owned()),
        Tone::Good => (
            Tone::Warn,
            "Genuine code, brand not verified",
            "The issuer named below made this code. Nobody has verified that the brand is theirs.".to_owned(),
        ),
        _ => (tone, headline, advice.replace("The brand", "The issuer").replace("the brand", "the issuer")),
    }
}

/// Returns the colour, headline and advice of a verdict.
pub(crate) fn judged(verdict: &Verdict, superseded: bool) -> (Tone, &'static str, &'static str) {
    match (verdict.lifecycle, verdict.risk.level) {
        (Lifecycle::Active, _) if superseded => (
            Tone::Warn,
            "Genuine code, look closely",
            "The brand made this code, but others can copy such codes now. Compare the item itself.",
        ),
        // Many scans by one client are reloads, not a copy.
        (Lifecycle::Active, risk) if risk == RiskLevel::Low || !verdict.seen_by_others => {
            (Tone::Good, "Genuine", "This tag was made by the brand.")
        }
        (Lifecycle::Active, _) => (
            Tone::Warn,
            "Genuine code, look closely",
            "The brand made this code, but it is scanned more than one item should be. It may have been \
             copied.",
        ),
        (Lifecycle::Revoked, _) => {
            (Tone::Bad, "Not valid any more", "The brand has withdrawn this tag. Do not trust the item.")
        }
        (Lifecycle::Recalled, _) => (
            Tone::Warn,
            "Recalled",
            "The brand has recalled this batch. Do not use the item; ask the brand or the shop.",
        ),
        (Lifecycle::KeyRevoked, _) => (
            Tone::Bad,
            "Cannot be trusted",
            "This code was made at a time when others could make such codes too. Do not trust the item; ask \
             the brand.",
        ),
        (Lifecycle::Expired, _) => {
            (Tone::Warn, "Expired", "The tag was made by the brand, but its expiry date has passed.")
        }
    }
}

pub(crate) fn level_name(level: RiskLevel) -> &'static str {
    match level {
        RiskLevel::Low => "low",
        RiskLevel::Medium => "medium",
        RiskLevel::High => "high",
    }
}

/// Describes a risk factor.
pub(crate) fn factor_in_words(factor: &RiskFactor) -> &'static str {
    match factor.name {
        "superseded_key" => "the brand has given up the key that this code was made with",
        "rapid_scans" => "scanned several times within half a minute",
        "high_frequency" => "scanned many times within a minute",
        "unusual_repetition" => "scanned ten times or more in all",
        _ => "requested by a program rather than a browser",
    }
}

/// Formats a time for people: to the minute, in UTC.
pub(crate) fn minute(at: OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

/// Describes how often a tag was scanned, and by whom if that is known.
pub(crate) fn scans_in_words(verdict: &Verdict) -> String {
    match verdict.scan_count {
        0 => "not yet".to_owned(),
        1 if verdict.counted => "1 (this is the first)".to_owned(),
        count if verdict.seen_by_others => format!("{count} (also by others)"),
        count => format!("{count} (by nobody else)"),
    }
}
