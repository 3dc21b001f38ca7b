//! `packaging/kubernetes/`: the files among each other, and against the exporter, the rules and the pages.
//! No cluster reads them here.

use std::{env, fs, path::PathBuf, process::Command};

use rdp_exporter::config::{Config, ProbeEndpoint};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    files::{items, string, text, yaml},
    markdown::root,
};

fn path(file: &str) -> PathBuf {
    root().join("packaging/kubernetes").join(file)
}

/// The objects of a file.
fn objects(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    documents.map(|document| document.unwrap_or_else(|error| panic!("{file}: {error}"))).collect()
}

/// The one object of a kind among those of the exporter.
fn of_the_exporter(kind: &str) -> Value {
    let mut found = objects("exporter.yaml").into_iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "two {kind}");
    object
}

fn container() -> Value {
    of_the_exporter("Deployment")["spec"]["template"]["spec"]["containers"][0].take()
}

fn config() -> Config {
    let text = string(&of_the_exporter("ConfigMap")["data"]["config.yaml"]);
    Config::from_yaml(&text, "config.yaml".as_ref()).unwrap_or_else(|error| panic!("{error}"))
}

/// Where the Service is reached.
fn service_address() -> String {
    let service = of_the_exporter("Service");
    let metadata = &service["metadata"];
    format!(
        "{}.{}.svc:{}",
        string(&metadata["name"]),
        string(&metadata["namespace"]),
        service["spec"]["ports"][0]["port"]
    )
}

#[test]
fn objects_have_the_kinds_that_are_told_and_one_namespace() {
    let files = ["exporter.yaml", "scrapeconfig.yaml", "probe.yaml", "prometheusrule.yaml"];
    let all: Vec<_> = files.into_iter().flat_map(objects).collect();
    let kinds: Vec<_> =
        all.iter().map(|object| format!("{} {}", string(&object["apiVersion"]), string(&object["kind"]))).collect();
    assert_eq!(
        kinds,
        [
            "v1 ConfigMap",
            "apps/v1 Deployment",
            "v1 Service",
            "monitoring.coreos.com/v1alpha1 ScrapeConfig",
            "monitoring.coreos.com/v1 Probe",
            "monitoring.coreos.com/v1 PrometheusRule",
        ]
    );
    for object in all {
        assert_eq!(object["metadata"]["namespace"], "monitoring", "{}", object["kind"]);
    }
}

#[test]
fn selectors_and_ports_lead_to_the_exporter() {
    let deployment = of_the_exporter("Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let service = of_the_exporter("Service");
    assert!(labels.is_object());
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&service["spec"]["selector"], labels);
    let container = container();
    let port = &container["ports"][0];
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], port["name"]);
    }
    // The exporter listens there where nothing else is said.
    assert!(help().contains(&format!("[default: :{}]", port["containerPort"])), "{port}");
}

#[test]
fn the_container_starts_with_a_configuration_that_is_mounted() {
    let container = container();
    let arguments: Vec<_> = items(&container["args"]).iter().map(string).collect();
    assert_eq!(arguments, ["--config.file=/etc/rdp_exporter/config.yaml", "--config.auto-reload"]);
    assert!(["--config.file", "--config.auto-reload"].into_iter().all(|flag| help().contains(flag)));
    let mount = &container["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/etc/rdp_exporter");
    // A file that is mounted by itself stays the old one.
    assert!(mount.get("subPath").is_none());
    let volume = &of_the_exporter("Deployment")["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["name"], mount["name"]);
    assert_eq!(volume["configMap"]["name"], of_the_exporter("ConfigMap")["metadata"]["name"]);
    assert_eq!(config().targets.len(), 3);
}

#[test]
fn the_operator_scrapes_the_service_as_the_job_of_the_rules() {
    let scrape = objects("scrapeconfig.yaml").remove(0);
    assert_eq!(scrape["spec"]["staticConfigs"][0]["targets"][0], service_address());
    let job = &scrape["spec"]["relabelings"][0];
    assert_eq!(job["targetLabel"], "job");
    assert!(text("prometheus/rules.yml").contains(&format!("job=\"{}\"", string(&job["replacement"]))), "{job}");
    assert_eq!(scrape["spec"]["scrapeInterval"], yaml("prometheus/prometheus.yml")["global"]["scrape_interval"]);
}

#[test]
fn the_operators_probes_are_ones_that_the_exporter_takes() {
    let probe = objects("probe.yaml").remove(0);
    let spec = &probe["spec"];
    assert_eq!(spec["prober"]["url"], service_address());
    assert_eq!(spec["prober"]["path"], "/probe");
    let config = config();
    let settings = config.module(&string(&spec["module"])).unwrap();
    let ProbeEndpoint::Allowed { networks, ports, .. } = &config.probe_endpoint else { panic!("nothing is allowed") };
    assert!(!networks.is_empty());
    for target in items(&spec["targets"]["staticConfig"]["static"]) {
        let address: rdp_exporter::target::Address = string(target).parse().unwrap();
        assert!(ports.contains(&address.port), "{target}");
    }
    let timeout = humantime::parse_duration(&string(&spec["scrapeTimeout"])).unwrap();
    assert!(timeout > settings.timeout, "a silent host would be cut off");
    assert!(timeout < humantime::parse_duration(&string(&spec["interval"])).unwrap());
}

/// The file is written from the rules; `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_operators_rules_are_the_rules() {
    let rules = text("prometheus/rules.yml");
    let (_, groups) = rules.split_once("\ngroups:\n").unwrap();
    let indented = groups.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") });
    let expected = format!("{RULES_HEAD}{}", indented.collect::<String>());
    let file = path("prometheusrule.yaml");
    if env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&file, &expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap();
    assert!(found == expected, "stale: UPDATE_GOLDEN=1 cargo test --test dashboards operators_rules");
    assert_eq!(objects("prometheusrule.yaml")[0]["spec"], yaml("prometheus/rules.yml"));
}

fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rdp_exporter")).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

const RULES_HEAD: &str = "\
# For the Prometheus operator: the rules of dashboards/prometheus/rules.yml, which says what to adapt. Made from it: edit there.
# Add the labels that your Prometheus' ruleSelector asks for.

apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: rdp-exporter
  namespace: monitoring
spec:
  groups:
";
