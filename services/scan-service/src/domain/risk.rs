//! Assesses the risk of a scan from the tag's recent scans, the caller's program and the tag's key. Pure.

use serde::Serialize;
use utoipa::ToSchema;

/// The number of scans of one tag, this one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frequency {
    /// Scans in the last 30 s; exact up to 5.
    pub(crate) in_30_s: u8,
    /// Scans in the last 60 s; exact up to 5.
    pub(crate) in_60_s: u8,
    /// All scans.
    pub(crate) in_all: u32,
}

/// The risk of a scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Risk {
    /// The sum of the factors' weights, at most 100.
    #[schema(minimum = 0, maximum = 100, example = 25)]
    pub(crate) score: u8,
    /// `low` up to 40, `medium` up to 70, `high` above.
    pub(crate) level: RiskLevel,
    /// The factors that add up to the score.
    pub(crate) factors: Vec<RiskFactor>,
}

/// The range of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RiskLevel {
    /// Score 0 to 40.
    Low,
    /// Score 41 to 70.
    Medium,
    /// Score 71 to 100.
    High,
}

/// One reason why a scan looks risky.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RiskFactor {
    /// `superseded_key`, `rapid_scans`, `high_frequency`, `unusual_repetition` or `suspicious_user_agent`.
    #[schema(value_type = String, example = "suspicious_user_agent")]
    pub(crate) name: &'static str,
    /// The number that the factor adds to the score.
    #[schema(example = 25)]
    pub(crate) weight: u8,
}

/// Prefixes of the `User-Agent` of HTTP libraries and command-line clients, in lower case.
const SCRIPT_CLIENTS: [&str; 28] = [
    "curl/",
    "wget/",
    "python-",
    "python/",
    "aiohttp/",
    "httpx/",
    "urllib",
    "go-http-client",
    "java/",
    "apache-httpclient",
    "okhttp/",
    "libwww-perl",
    "lwp::",
    "perl/",
    "ruby",
    "faraday",
    "php",
    "guzzlehttp",
    "node",
    "axios/",
    "undici",
    "got ",
    "postmanruntime",
    "insomnia",
    "httpie/",
    "scrapy/",
    "reqwest/",
    "hyper/",
];

/// The caller's program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Agent<'a> {
    /// That of a verified partner. It is no sign of risk.
    Known,
    /// The `User-Agent` of any other caller, as sent.
    Unknown(Option<&'a [u8]>),
}

/// All factors, in the order of the response.
const FACTORS: [RiskFactor; 5] = [
    RiskFactor { name: "superseded_key", weight: 45 },
    RiskFactor { name: "rapid_scans", weight: 35 },
    RiskFactor { name: "high_frequency", weight: 30 },
    RiskFactor { name: "unusual_repetition", weight: 15 },
    RiskFactor { name: "suspicious_user_agent", weight: 25 },
];

/// Returns the names of all factors.
pub(crate) fn factor_names() -> impl Iterator<Item = &'static str> {
    FACTORS.into_iter().map(|factor| factor.name)
}

/// Assesses one scan. `superseded` means that the tag's key was revoked after its batch was minted. A holder
/// of that secret can compute every id that was printed under it, so the risk is at least medium.
pub(crate) fn assess(frequency: Frequency, agent: Agent<'_>, superseded: bool) -> Risk {
    let suspicious = matches!(agent, Agent::Unknown(sent) if is_script(sent));
    let hold =
        [superseded, frequency.in_30_s >= 3, frequency.in_60_s >= 5, frequency.in_all >= 10, suspicious];
    let factors: Vec<RiskFactor> =
        hold.into_iter().zip(FACTORS).filter_map(|(holds, factor)| holds.then_some(factor)).collect();
    let score = factors.iter().fold(0_u8, |sum, factor| sum.saturating_add(factor.weight)).min(100);
    let level = match score {
        0..=40 => RiskLevel::Low,
        41..=70 => RiskLevel::Medium,
        _ => RiskLevel::High,
    };
    Risk { score, level, factors }
}

/// Whether the `User-Agent` is missing, empty, or that of a known script client.
fn is_script(user_agent: Option<&[u8]>) -> bool {
    let agent = user_agent.unwrap_or_default().trim_ascii();
    agent.is_empty()
        || SCRIPT_CLIENTS.iter().any(|known| {
            agent.get(..known.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(known.as_bytes()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: &[u8] = b"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15";

    /// Assesses a scan of a tag whose key is valid.
    fn assess(frequency: Frequency, user_agent: Option<&[u8]>) -> Risk {
        super::assess(frequency, Agent::Unknown(user_agent), false)
    }

    fn names(risk: &Risk) -> Vec<&str> {
        risk.factors.iter().map(|factor| factor.name).collect()
    }

    fn seen(in_30_s: u8, in_60_s: u8, in_all: u32) -> Frequency {
        Frequency { in_30_s, in_60_s, in_all }
    }

    #[test]
    fn the_first_scan_by_a_phone_has_no_risk() {
        let risk = assess(seen(1, 1, 1), Some(PHONE));
        assert_eq!((risk.score, risk.level, risk.factors.len()), (0, RiskLevel::Low, 0));
    }

    #[test]
    fn each_factor_applies_from_its_threshold() {
        assert_eq!(names(&assess(seen(2, 4, 9), Some(PHONE))), Vec::<&str>::new());
        assert_eq!(names(&assess(seen(3, 4, 9), Some(PHONE))), ["rapid_scans"]);
        assert_eq!(names(&assess(seen(2, 5, 9), Some(PHONE))), ["high_frequency"]);
        assert_eq!(names(&assess(seen(1, 1, 10), Some(PHONE))), ["unusual_repetition"]);
        assert_eq!(names(&assess(seen(1, 1, 1), None)), ["suspicious_user_agent"]);
    }

    #[test]
    fn a_known_partner_may_use_any_program() {
        assert_eq!(super::assess(seen(1, 1, 1), Agent::Known, false).score, 0);
        assert_eq!(names(&super::assess(seen(3, 1, 1), Agent::Known, false)), ["rapid_scans"]);
    }

    #[test]
    fn a_superseded_key_alone_is_a_medium_risk() {
        let risk = super::assess(seen(1, 1, 1), Agent::Unknown(Some(PHONE)), true);
        assert_eq!((names(&risk), risk.score, risk.level), (vec!["superseded_key"], 45, RiskLevel::Medium));
        assert_eq!(super::assess(seen(5, 5, 50), Agent::Unknown(None), true).score, 100);
    }

    #[test]
    fn the_score_is_at_most_100_and_the_levels_cover_every_score() {
        let all = assess(seen(5, 5, 50), None);
        assert_eq!((all.score, all.level), (100, RiskLevel::High));
        assert_eq!(assess(seen(1, 1, 10), None).level, RiskLevel::Low, "15 + 25 = 40 is still low");
        assert_eq!(assess(seen(3, 5, 1), Some(PHONE)).level, RiskLevel::Medium, "35 + 30 = 65");
        assert_eq!(assess(seen(3, 5, 10), Some(PHONE)).level, RiskLevel::High, "35 + 30 + 15 = 80");
    }

    #[test]
    fn script_clients_are_recognised_in_any_case_and_browsers_are_not() {
        for agent in
            ["curl/8.5.0", "CURL/8", "python-requests/2.31", "Go-http-client/1.1", "Wget/1.21", " ", ""]
        {
            assert!(is_script(Some(agent.as_bytes())), "{agent}");
        }
        for agent in [PHONE, b"Mozilla/5.0 (Linux; Android 15) Chrome/140", b"VokeTagApp/3", b"\xff\xfe"] {
            assert!(!is_script(Some(agent)), "{agent:?}");
        }
    }
}
