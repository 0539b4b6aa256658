//! The settings of this service in `docker-compose.yml`.

use http_edge::ServeConfig;
use test_support::ComposeService;

use crate::process::program;

const SERVICE: &str = "factory-service";

#[test]
fn compose_passes_the_numbered_secrets_and_their_files() {
    let service = ComposeService::read(SERVICE);
    for stem in ["TAG_MASTER_SECRET", "AUDIT_SIGNING_KEY"] {
        service.assert_passes_numbered(stem);
    }
    service.assert_passes("FACTORY_API_KEY");
    service.assert_passes("FACTORY_API_KEY_FILE");
}

#[test]
fn compose_sets_only_settings_that_the_service_knows() {
    let output = program().args(["serve", "--check-config"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    ComposeService::read(SERVICE).assert_names_only(&shown);
}

#[test]
fn the_stop_grace_period_of_compose_covers_draining_and_the_shutdown_hook() {
    let needed = ServeConfig::default().drain + http_edge::SHUTDOWN_HOOK_TIMEOUT;
    ComposeService::read(SERVICE).assert_outlasts(needed);
}
