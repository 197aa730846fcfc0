use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::Bed;
use tests::environment::{Run, program, run};

use super::elsewhere::Copy;
use super::followed::{watching, with_seven};

/// Where the bed's Envoy listens for it; one that is no root's.
const PORT: u16 = 28443;

/// The bed's Gateway with the listener of the platform beside its own, until it is dropped.
struct Listener<'a> {
    bed: &'a Bed,
    before: Value,
}

impl<'a> Listener<'a> {
    /// The one that `cargo bootstrap render --tls` writes, but for the port.
    fn of(bed: &'a Bed, platform: &[Value]) -> Self {
        let before = bed.get("gateway", "gateway", "models").unwrap()["spec"]["listeners"].clone();
        let listeners = object(platform, "Gateway", "models")["spec"]["listeners"].as_array().unwrap();
        let mut secure = listeners.iter().find(|listener| listener["protocol"] == "HTTPS").unwrap().clone();
        assert_eq!(secure["port"], 443);
        secure["port"] = json!(PORT);
        let listener = Self { bed, before };
        let mut listeners = listener.before.as_array().unwrap().clone();
        listeners.push(secure);
        listener.put(&Value::Array(listeners));
        listener
    }

    fn put(&self, listeners: &Value) {
        let patch = json!({"spec": {"listeners": listeners}}).to_string();
        self.bed.ask(&["--namespace", "gateway", "patch", "gateway", "models", "--type=merge", "--patch", &patch]);
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.put(&self.before);
    }
}

fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{kind} {name}"))
}

/// Writes the Secret that cert-manager would from the `Certificate`, which has no pod here, and gives the authority that signed it.
fn sign(bed: &Bed, environment: &TestEnvironment, certificate: &Value) -> PathBuf {
    let names: Vec<String> = serde_json::from_value(certificate["spec"]["dnsNames"].clone()).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": certificate["spec"]["secretName"], "namespace": "gateway"},
        "stringData": {"tls.crt": signed.pem(), "tls.key": key.serialize_pem()}});
    bed.apply(&secret.to_string());
    let file = environment.path("authority.pem");
    std::fs::write(&file, authority.as_ref().pem()).unwrap();
    file
}

/// Asks as somebody does who trusts that authority, or nobody in particular.
fn ask(environment: &TestEnvironment, host: &str, authority: Option<&PathBuf>) -> Run {
    let mut curl = environment.command("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "10", "--json", r#"{"inputs": []}"#]);
    curl.args(["--resolve", &format!("{host}:{PORT}:127.0.0.1")]);
    if let Some(authority) = authority {
        curl.arg("--cacert").arg(authority);
    }
    run(curl.arg(format!("https://{host}:{PORT}/v2/models/model/infer")))
}

#[test]
fn a_release_answers_over_https_to_whoever_trusts_the_authority_of_the_cluster() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let copy = Copy::new(&bed, &environment);
    let mut render = environment.command(program("kmlflow-bootstrap"));
    assert_eq!(run(render.args(["render", "--tls", "--gitops-repo"]).arg(&copy.gitops)).code, 0);
    let platform: Vec<Value> = serde_yaml::Deserializer::from_str(&copy.kustomized("gateway"))
        .map(|object| Value::deserialize(object).unwrap())
        .collect();
    let authority = sign(&bed, &environment, object(&platform, "Certificate", "addresses"));
    let _listener = Listener::of(&bed, &platform);

    let server = watching(&bed, &environment);
    let namespace = with_seven(&bed, &server, "https");
    bed.ask(&["label", "namespace", &namespace.name, "kmlflow.dev/routes=true"]);
    let host = format!("fraud-{}.k5w.localhost", namespace.name);
    let answer =
        server.until("it answers", || Some(ask(&environment, &host, Some(&authority))).filter(|run| run.code == 0));
    assert!(answer.stdout.contains("\"v7\""), "{answer:?}");
    let stranger = ask(&environment, &host, None);
    assert_eq!(stranger.code, 60, "curl knows the authority by nobody: {stranger:?}");
}
