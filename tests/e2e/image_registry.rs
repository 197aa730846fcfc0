//! Tags to digests at a real registry: Debian's `docker-registry`, which the tier `images` installs.

use kmlflow::images::{Resolution, Resolver};
use serde_json::json;
use tests::image_registry::{ImageRegistry, LOGIN};
use tests::{Server, TestEnvironment};

/// Asks as a service that has just started.
fn resolve(registry: &str, image: &str, credentials: Option<&str>) -> Result<Resolution, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let resolver = Resolver::new(&[registry.to_owned()], credentials).unwrap();
    runtime.block_on(resolver.resolve(image)).map_err(|refusal| refusal.reason)
}

fn pinned(image: &str, digest: &str) -> Result<Resolution, String> {
    Ok(Resolution::Pinned(format!("{image}@{digest}")))
}

fn unpinned(resolution: &Result<Resolution, String>) -> &str {
    match resolution {
        Ok(Resolution::Unpinned { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tag_becomes_the_digest_that_it_names_now() {
    let environment = TestEnvironment::new();
    let registry = ImageRegistry::start(&environment, false);
    let name = registry.name();
    let image = format!("{name}/team/fraud:8");
    let first = registry.push("team/fraud", "8", "one");
    assert_eq!(resolve(&name, &image, None), pinned(&image, &first));
    let second = registry.push("team/fraud", "8", "two");
    assert_ne!(first, second);
    assert_eq!(resolve(&name, &image, None), pinned(&image, &second));
    let latest = registry.push("team/fraud", "latest", "three");
    let untagged = format!("{name}/team/fraud");
    assert_eq!(resolve(&name, &untagged, None), pinned(&untagged, &latest));
}

/// A service that resolves tags at a registry.
fn service<'a>(environment: &'a TestEnvironment, registry: &str) -> Server<'a> {
    let service = environment.server().env("KMLFLOW__IMAGES__RESOLVE", "on");
    service.env("KMLFLOW__IMAGES__INSECURE", registry).start()
}

#[test]
fn a_release_is_pinned_and_stays_so_while_the_registry_is_silent() {
    let environment = TestEnvironment::new();
    let registry = ImageRegistry::start(&environment, false);
    let name = registry.name();
    let server = service(&environment, &name);
    let digest = registry.push("fraud", "8", "one");
    let image = format!("{name}/fraud:8");
    let body = json!({"model": "fraud", "version": "8", "image": image});
    let made = server.put("production/models/fraud", &body).expect(201).json();
    let variant = &made["release"]["spec"]["variants"][0];
    assert_eq!(variant["image"], json!(format!("{image}@{digest}")));
    assert_eq!(variant["unpinned"], json!(null));
    let absent = json!({"model": "fraud", "version": "9", "image": format!("{name}/fraud:9")});
    let problem = server.put("production/models/fraud", &absent).expect_problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("has no image `fraud:9`"), "{problem}");
    drop(registry);
    drop(server);
    let server = service(&environment, &name);
    let again = server.put("production/models/fraud", &body).expect(200).json();
    assert_eq!(again["changed"], false, "{again}");
    let other = json!({"model": "fraud", "version": "10", "image": format!("{name}/fraud:10")});
    let unpinned = server.put("production/models/fraud", &other).expect(200).json();
    assert_eq!(unpinned["release"]["spec"]["variants"][0]["unpinned"], true, "{unpinned}");
}

#[test]
fn an_environment_that_requires_digests_refuses_a_tag_that_nobody_resolves() {
    let environment = TestEnvironment::new();
    let strict = environment.server().env("KMLFLOW__ENVIRONMENTS__PRODUCTION__REQUIRE_DIGEST", "true");
    let server = strict.env("KMLFLOW__IMAGES__INSECURE", "127.0.0.1:1").start();
    let body = |image: &str| json!({"model": "fraud", "version": "1", "image": image});
    let problem = server.put("production/models/fraud", &body("127.0.0.1:1/fraud:1")).expect_problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("is not pinned to a digest"), "{problem}");
    assert!(problem["cure"].as_str().unwrap().contains("@sha256:"), "{problem}");
    let pinned = format!("127.0.0.1:1/fraud:1@sha256:{}", "0".repeat(64));
    server.put("production/models/fraud", &body(&pinned)).expect(201);
}

#[test]
fn an_image_for_several_platforms_is_pinned_as_a_whole() {
    let environment = TestEnvironment::new();
    let registry = ImageRegistry::start(&environment, false);
    let image = format!("{}/fraud:8", registry.name());
    let index = registry.push_index("fraud", "8", "one");
    assert_eq!(resolve(&registry.name(), &image, None), pinned(&image, &index));
}

#[test]
fn a_tag_or_an_image_that_is_not_there_is_refused() {
    let environment = TestEnvironment::new();
    let registry = ImageRegistry::start(&environment, false);
    let name = registry.name();
    registry.push("fraud", "8", "one");
    for absent in ["fraud:9", "nobody:1"] {
        let refused = resolve(&name, &format!("{name}/{absent}"), None);
        assert_eq!(refused, Err(format!("the registry `{name}` has no image `{absent}`")));
    }
}

#[test]
fn a_registry_with_a_login_wants_the_right_one() {
    let environment = TestEnvironment::new();
    let registry = ImageRegistry::start(&environment, true);
    let name = registry.name();
    let image = format!("{name}/fraud:8");
    let digest = registry.push("fraud", "8", "one");
    let login = |password: &str| json!({"auths": {&name: {"username": LOGIN.0, "password": password}}}).to_string();
    assert_eq!(resolve(&name, &image, Some(&login(LOGIN.1))), pinned(&image, &digest));
    for credentials in [None, Some(login("hunter2"))] {
        let resolution = resolve(&name, &image, credentials.as_deref());
        let reason = unpinned(&resolution);
        assert!(reason.contains("`images.auth_file`") && !reason.contains("hunter2"), "{reason}");
    }
}

#[test]
fn a_registry_that_is_gone_or_speaks_no_tls_leaves_the_tag() {
    let environment = TestEnvironment::new();
    let registry = ImageRegistry::start(&environment, false);
    let name = registry.name();
    let image = format!("{name}/fraud:8");
    registry.push("fraud", "8", "one");
    let secure = resolve("registry.example", &image, None);
    assert_eq!(unpinned(&secure), format!("the registry `{name}` cannot be reached"));
    drop(registry);
    let gone = resolve(&name, &image, None);
    assert_eq!(unpinned(&gone), format!("the registry `{name}` cannot be reached"));
}
