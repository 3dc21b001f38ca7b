//! The examples on the pages of the documentation, read by the programs that they are for.
//! Those of the exporter's own configuration are read in the suite that needs no programs.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{
    markdown::{Block, blocks},
    names, programs, promql,
};

fn document(block: &Block) -> Value {
    serde_yaml::from_str(&block.text).unwrap_or_else(|error| panic!("{}: {error}", block.place))
}

/// The blocks of YAML that have this key at the top.
fn with_key(key: &str) -> Vec<Block> {
    let blocks = blocks("yaml").into_iter().filter(|block| document(block).get(key).is_some());
    let blocks: Vec<_> = blocks.collect();
    assert!(!blocks.is_empty(), "no page has a block with {key}");
    blocks
}

#[test]
fn promtool_accepts_the_scrape_jobs() {
    let folder = tempfile::tempdir().unwrap();
    for block in with_key("scrape_configs") {
        println!("{}", block.place);
        fs::write(folder.path().join("prometheus.yml"), block.text).unwrap();
        // The certificates and passwords that they name are not there.
        programs::check("promtool", &["check", "config", "--syntax-only", "prometheus.yml"], folder.path());
    }
}

#[test]
fn promtool_accepts_the_files_of_targets() {
    let folder = tempfile::tempdir().unwrap();
    let config = "scrape_configs: [ { job_name: rdp, file_sd_configs: [ { files: [ targets.yml ] } ] } ]\n";
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    // JSON is YAML.
    let lists = ["json", "yaml"].into_iter().flat_map(blocks).filter(|block| document(block).is_array());
    let lists: Vec<_> = lists.collect();
    assert!(lists.len() >= 2);
    for block in lists {
        println!("{}", block.place);
        fs::write(folder.path().join("targets.yml"), block.text).unwrap();
        programs::check("promtool", &["check", "config", "prometheus.yml"], folder.path());
    }
}

#[test]
fn amtool_accepts_the_routes() {
    let folder = tempfile::tempdir().unwrap();
    for block in with_key("route") {
        println!("{}", block.place);
        fs::write(folder.path().join("alertmanager.yml"), block.text).unwrap();
        programs::check("amtool", &["check-config", "alertmanager.yml"], folder.path());
    }
}

#[test]
fn queries_name_what_the_exporter_renders() {
    let mut metrics = BTreeSet::new();
    for block in blocks("promql") {
        let query = promql::parse(block.text.trim());
        names::check_names(&query).unwrap_or_else(|error| panic!("{}: {error}", block.place));
        metrics.extend(promql::selectors(&query).iter().flat_map(promql::metrics));
    }
    assert!(metrics.len() > 5, "{metrics:?}");
}
