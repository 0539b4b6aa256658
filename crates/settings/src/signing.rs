//! The keys that sign checkpoints of the audit chain.

use std::sync::Arc;

use keyring::{KeyNumber, SigningKeys, SigningSeed};

use crate::{Env, EnvError, Kind};

const SIGNING_KEY: &str = "AUDIT_SIGNING_KEY";
const SIGNING_SEED: &str =
    "32 random bytes (an Ed25519 seed) as 64 hex digits, e.g. the output of: openssl rand -hex 32";

/// The keys that sign checkpoints of the audit chain.
#[derive(Debug, Clone)]
pub struct SigningSettings {
    /// `AUDIT_SIGNING_KEY_<n>[_FILE]`; `AUDIT_SIGNING_KEY[_FILE]` is number 1. May be empty.
    pub keys: Arc<SigningKeys>,
}

impl SigningSettings {
    /// Reads the section. The keys sign under the name `audit_origin`.
    ///
    /// # Errors
    /// Fails if a variable cannot be parsed, if its name does not end in a key number, if both names of
    /// number 1 are set, or if there are keys and the origin cannot be the name of a signing key.
    pub fn from_env(env: &Env, audit_origin: &str) -> Result<Self, EnvError> {
        let mut seeds: Vec<_> = env
            .secret(SIGNING_KEY, &signing_seed())?
            .map(|seed| (KeyNumber::FIRST, seed))
            .into_iter()
            .collect();
        for number in env.numbers_after(SIGNING_KEY, "key number")? {
            let name = format!("{SIGNING_KEY}_{number}");
            let Some(seed) = env.secret(&name, &signing_seed())? else { continue };
            if seeds.iter().any(|(taken, _)| *taken == number) {
                let why = "both are key number 1; set one of the two".to_owned();
                return Err(EnvError::Contradiction { names: format!("{SIGNING_KEY} and {name}"), why });
            }
            seeds.push((number, seed));
        }
        let keys = SigningKeys::new(audit_origin, seeds).map_err(|_| EnvError::Contradiction {
            names: format!("AUDIT_ORIGIN and {SIGNING_KEY}"),
            why: format!("{audit_origin:?} cannot be the name of a signing key: it holds white space or '+'"),
        })?;
        Ok(Self { keys: Arc::new(keys) })
    }
}

fn signing_seed() -> Kind<SigningSeed> {
    Kind::new(SIGNING_SEED, |text| SigningSeed::from_hex(text).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const ORIGIN: &str = "voketag.local/audit";

    fn env<const N: usize>(pairs: [(&str, &str); N]) -> Env {
        pairs.into_iter().collect()
    }

    #[test]
    fn signing_keys_have_numbers_and_are_optional() {
        let numbers =
            |settings: SigningSettings| settings.keys.numbers().map(KeyNumber::get).collect::<Vec<_>>();
        assert!(numbers(SigningSettings::from_env(&env([]), ORIGIN).unwrap()).is_empty());
        let both = env([("AUDIT_SIGNING_KEY", SECRET), ("AUDIT_SIGNING_KEY_3", SECRET)]);
        assert_eq!(numbers(SigningSettings::from_env(&both, ORIGIN).unwrap()), [1, 3]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
        let path = file.path().to_str().unwrap();
        let files = env([("AUDIT_SIGNING_KEY_FILE", path), ("AUDIT_SIGNING_KEY_2_FILE", path)]);
        assert_eq!(numbers(SigningSettings::from_env(&files, ORIGIN).unwrap()), [1, 2]);
    }

    #[test]
    fn a_wrong_or_repeated_signing_key_stops_the_start_and_is_not_shown() {
        for (name, value, says) in [
            ("AUDIT_SIGNING_KEY", &SECRET[1..], "64 hex digits"),
            ("AUDIT_SIGNING_KEY_07", SECRET, "AUDIT_SIGNING_KEY_07"),
            ("AUDIT_SIGNING_KEY_X_FILE", SECRET, "AUDIT_SIGNING_KEY_X_FILE"),
        ] {
            let error = SigningSettings::from_env(&env([(name, value)]), ORIGIN).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains(&SECRET[1..]), "{error}");
        }
        let twice = env([("AUDIT_SIGNING_KEY", SECRET), ("AUDIT_SIGNING_KEY_1", SECRET)]);
        let error = SigningSettings::from_env(&twice, ORIGIN).unwrap_err().to_string();
        assert!(error.contains("AUDIT_SIGNING_KEY and AUDIT_SIGNING_KEY_1"), "{error}");
        assert!(
            !format!("{:?}", SigningSettings::from_env(&env([("AUDIT_SIGNING_KEY", SECRET)]), ORIGIN))
                .contains(SECRET)
        );
    }

    #[test]
    fn an_origin_that_cannot_name_a_key_contradicts_a_signing_key() {
        for origin in ["voketag audit", "a+b", "a\u{a0}b"] {
            assert!(
                SigningSettings::from_env(&env([]), origin).is_ok(),
                "without a key any origin is accepted"
            );
            let error = SigningSettings::from_env(&env([("AUDIT_SIGNING_KEY", SECRET)]), origin).unwrap_err();
            assert!(matches!(error, EnvError::Contradiction { .. }), "{error}");
            assert!(error.to_string().contains("AUDIT_ORIGIN"), "{error}");
        }
    }
}
