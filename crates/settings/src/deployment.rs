//! The deployment, its audit chain, and the directory that records both outside Redis.

use catalog::Init;
use keyring::SigningKeys;
use storage::StateDir;

use crate::{Env, EnvError, Kind, choice};

/// The deployment and its audit chain.
#[derive(Debug, Clone)]
pub struct DeploymentSettings {
    /// `DEPLOYMENT_INIT`: whether the service creates the deployment record if Redis has none.
    pub init: Init,
    /// `AUDIT_ORIGIN`: the name of the audit chain.
    pub audit_origin: String,
    /// `STATE_DIR`: the directory that records the highest audit head outside Redis.
    pub state_dir: Option<StateDir>,
}

impl DeploymentSettings {
    /// Reads the section.
    ///
    /// # Errors
    /// Fails if a variable cannot be parsed, or if the directory cannot be read and written.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let inits = choice(&[("auto", Init::Auto), ("never", Init::Never)]);
        Ok(Self {
            init: env.get("DEPLOYMENT_INIT", Init::Auto, &inits)?,
            audit_origin: env.get("AUDIT_ORIGIN", "voketag.local/audit".to_owned(), &origin())?,
            state_dir: env.optional("STATE_DIR", &state_dir())?,
        })
    }
}

/// Takes the name of the audit chain, which is also the name of the keys that sign its checkpoints. The name
/// cannot change once the deployment exists. So a name that a signed note cannot hold is rejected at the
/// first start, not when the first key is set.
fn origin() -> Kind<String> {
    let takes = "1 to 200 bytes without white space, '+', control characters or a byte order mark, \
        e.g. acme.example/audit";
    Kind::new(takes, |text| {
        let good = text.len() <= 200 && SigningKeys::can_sign_as(text);
        if good { Ok(text.to_owned()) } else { Err("a signed checkpoint cannot hold it".to_owned()) }
    })
}

fn state_dir() -> Kind<StateDir> {
    Kind::new("a directory that this process may read and write, e.g. /var/lib/voketag", |text| {
        StateDir::open(text).map_err(|error| error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<const N: usize>(pairs: [(&str, &str); N]) -> Env {
        pairs.into_iter().collect()
    }

    #[test]
    fn an_origin_that_a_signed_note_cannot_hold_stops_the_start_even_without_a_key() {
        let long = "a".repeat(201);
        for origin in
            ["voketag audit", " a", "a ", "a+b", "a\u{a0}b", "a\tb", "a\nb", "a\u{7f}b", "\u{feff}a", &long]
        {
            let error =
                DeploymentSettings::from_env(&env([("AUDIT_ORIGIN", origin)])).unwrap_err().to_string();
            assert!(error.starts_with("AUDIT_ORIGIN") && error.contains("acme.example/audit"), "{error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
        for origin in ["voketag.local/audit", "a", "größe.example/prüfung", &"a".repeat(200)] {
            let settings = DeploymentSettings::from_env(&env([("AUDIT_ORIGIN", origin)])).unwrap();
            assert_eq!(settings.audit_origin, origin);
        }
    }

    #[test]
    fn a_state_dir_that_cannot_be_used_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let settings = |path: &std::path::Path| {
            DeploymentSettings::from_env(&env([("STATE_DIR", path.to_str().unwrap())]))
        };
        assert!(settings(&folder.path().join("state")).unwrap().state_dir.is_some());
        assert!(DeploymentSettings::from_env(&env([])).unwrap().state_dir.is_none());
        let error = settings(&file).unwrap_err().to_string();
        assert!(error.contains("STATE_DIR") && error.contains("cannot create the directory"), "{error}");
        assert!(error.contains("/var/lib/voketag"), "{error}");
    }
}
