//! What `docker-compose.yml` gives a service. Its entries are checked here; starting containers is for a
//! machine with an engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use yaml_rust2::{Yaml, YamlLoader};

/// One service of `docker-compose.yml`.
#[derive(Debug)]
pub struct ComposeService {
    /// The variables that its container gets, with the value where the file sets one.
    environment: BTreeMap<String, Option<String>>,
    /// From the request to stop until it is killed.
    stop_grace_period: Duration,
}

impl ComposeService {
    /// Reads it from the workspace's file.
    ///
    /// # Panics
    /// When the file cannot be read, or a part of it has another form than expected here.
    #[must_use]
    pub fn read(name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker-compose.yml");
        let text = std::fs::read_to_string(&file).expect("the workspace has a docker-compose.yml");
        let document = YamlLoader::load_from_str(&text).expect("docker-compose.yml is YAML").remove(0);
        let service = &document["services"][name];
        let entries = service["environment"].as_vec().expect("environment is a list");
        let environment = entries.iter().map(entry).collect::<BTreeMap<_, _>>();
        assert_eq!(environment.len(), entries.len(), "{name}: a variable is there twice");
        let period = service["stop_grace_period"].as_str().expect("stop_grace_period is set");
        let seconds = period.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
        let stop_grace_period =
            Duration::from_secs(seconds.expect("stop_grace_period is in seconds, e.g. 30s"));
        Self { environment, stop_grace_period }
    }

    /// Checks that secrets of further epochs reach the container: `stem`, `stem_1` to `stem_9`, and each also
    /// as `…_FILE`.
    ///
    /// # Panics
    /// When one of them is not passed on, or the file sets its value.
    pub fn assert_passes_numbered(&self, stem: &str) {
        let numbered = (1..=9).map(|number| format!("{stem}_{number}"));
        for name in std::iter::once(stem.to_owned()).chain(numbered) {
            self.assert_passes(&name);
            self.assert_passes(&format!("{name}_FILE"));
        }
    }

    /// Checks that `name` comes from the environment of whoever starts it, and stays unset where it is unset
    /// there.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_passes(&self, name: &str) {
        assert_eq!(self.environment.get(name), Some(&None), "docker-compose.yml passes {name} on");
    }

    /// Checks that every setting that the file names is one of `effective`, the lines of `serve
    /// --check-config`.
    ///
    /// # Panics
    /// When the service does not know one.
    pub fn assert_names_only(&self, effective: &str) {
        let known: Vec<&str> = effective.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        for name in self.settings() {
            assert!(known.contains(&name), "{name} is none of {known:?}");
        }
    }

    /// Checks that the container is killed later than `needed` after the request to stop.
    ///
    /// # Panics
    /// When it is killed before.
    pub fn assert_outlasts(&self, needed: Duration) {
        let period = self.stop_grace_period;
        assert!(period > needed, "{period:?} is not longer than {needed:?}");
    }

    /// The settings that are named: without the number of an epoch or a key, and without `_FILE`.
    fn settings(&self) -> impl Iterator<Item = &str> {
        self.environment.keys().map(|name| {
            let name = name.strip_suffix("_FILE").unwrap_or(name);
            let numbered =
                name.rsplit_once('_').filter(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()));
            numbered.map_or(name, |(stem, _)| stem)
        })
    }
}

fn entry(entry: &Yaml) -> (String, Option<String>) {
    let entry = entry.as_str().expect("a variable is NAME or NAME=value");
    match entry.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (entry.to_owned(), None),
    }
}
