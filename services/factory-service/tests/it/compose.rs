//! What `docker-compose.yml` gives this service.

use http_edge::ServeConfig;
use test_support::ComposeService;

use crate::process::program;

const SERVICE: &str = "factory-service";

#[test]
fn compose_passes_the_secrets_of_further_epochs_and_their_files() {
    let service = ComposeService::read(SERVICE);
    for stem in ["TAG_MASTER_SECRET", "AUDIT_SIGNING_KEY"] {
        service.assert_passes_numbered(stem);
    }
    service.assert_passes("FACTORY_API_KEY");
    service.assert_passes("FACTORY_API_KEY_FILE");
}

#[test]
fn compose_names_no_setting_that_the_service_does_not_know() {
    let output = program().args(["serve", "--check-config"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    ComposeService::read(SERVICE).assert_names_only(&shown);
}

#[test]
fn compose_waits_longer_for_the_end_than_draining_and_the_shutdown_hook_may_take() {
    let needed = ServeConfig::default().drain + http_edge::SHUTDOWN_HOOK_TIMEOUT;
    ComposeService::read(SERVICE).assert_outlasts(needed);
}
