//! A browser, driven over WebDriver (<https://www.w3.org/TR/webdriver2/>): the few commands that this suite needs.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::process::{self, Process};

/// A window of a browser with a profile of its own; closed on drop.
pub(crate) struct Browser {
    /// Below which the commands of the session are.
    session: String,
    port: u16,
    _driver: Process,
}

/// Something in the page.
pub(crate) struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

impl Browser {
    /// Starts one, or says loudly that there is none. `exporter.example` leads to loopback in it.
    pub(crate) fn start() -> Option<Self> {
        if !process::require(&["chromium", "chromedriver"]) {
            return None;
        }
        let folder = process::directory();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let mut command = process::command("chromedriver");
        command.arg("--port=0").env("HOME", &home).env("TMPDIR", &home).env_remove("DISPLAY");
        let mut driver = Process::start("chromedriver", &command, folder);
        let log = driver.log_file();
        let port = driver.wait_until("a port", || {
            let log = fs::read_to_string(&log).ok()?;
            let (_, after) = log.split_once("started successfully on port ")?;
            after.split_once('.')?.0.parse().ok()
        });
        let mut browser = Self { session: String::new(), port, _driver: driver };
        let mut arguments = FLAGS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", home.join("profile").display()));
        let options = json!({
            "binary": process::command("chromium").get_program().to_str().unwrap(),
            "args": arguments,
        });
        let logging = json!({ "browser": "ALL", "performance": "ALL" });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logging });
        let answer = browser.send("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } })).unwrap();
        browser.session = format!("/session/{}", answer["sessionId"].as_str().unwrap());
        Some(browser)
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    pub(crate) fn url(&self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }

    /// The first element of that selector, as soon as there is one.
    pub(crate) fn find(&self, selector: &str) -> Element<'_> {
        self.wait_for(selector, || self.find_all(selector).into_iter().next())
    }

    pub(crate) fn find_all(&self, selector: &str) -> Vec<Element<'_>> {
        let found = self.post("/elements", &json!({ "using": "css selector", "value": selector }));
        let elements = found.as_array().unwrap().iter();
        elements.map(|found| Element { browser: self, id: found[ELEMENT].as_str().unwrap().to_owned() }).collect()
    }

    /// The text of the first element of that selector; none while one page makes way for another.
    ///
    /// In one command, as an element that was found may belong to a page that is gone once its text is asked for.
    pub(crate) fn shown(&self, selector: &str) -> Option<String> {
        let script = format!("return document.querySelector({selector:?})?.innerText");
        let parameters = json!({ "script": script, "args": [] });
        let text = self.send("POST", &format!("{}/execute/sync", self.session), &parameters).ok()?;
        text.as_str().map(str::to_owned)
    }

    /// All text that can be seen.
    pub(crate) fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap().to_owned()
    }

    /// What that function body returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Presses and releases a key, wherever the focus is.
    pub(crate) fn press(&self, key: char) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] }));
    }

    /// Whether a dialog of a script is open.
    pub(crate) fn has_dialog(&self) -> bool {
        self.send("GET", &format!("{}/alert/text", self.session), &Value::Null).is_ok()
    }

    /// A command of the browser's own protocol.
    pub(crate) fn command(&self, name: &str, parameters: &Value) {
        self.post("/goog/cdp/execute", &json!({ "cmd": name, "params": parameters }));
    }

    /// A window of that size, as a phone would show it where it is narrow.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let parameters = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", &parameters);
    }

    /// Puts a picture of the window into `target/screenshots`.
    pub(crate) fn screenshot(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&folder).unwrap();
        let picture = STANDARD.decode(self.get("/screenshot").as_str().unwrap()).unwrap();
        let file = folder.join(format!("{name}.png"));
        fs::write(&file, picture).unwrap();
        file
    }

    /// What was written to the console since the last call.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        entries.as_array().unwrap().iter().map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    /// The addresses that were asked for since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "performance" }));
        let events = entries.as_array().unwrap().iter().map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            event["message"].clone()
        });
        let sent = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Polls until there is an answer.
    pub(crate) fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        process::wait_until(what, PATIENCE, look)
    }

    fn get(&self, path: &str) -> Value {
        self.send("GET", &format!("{}{path}", self.session), &Value::Null).unwrap()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", &format!("{}{path}", self.session), body).unwrap()
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        write!(stream, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).unwrap();
        let mut reader = BufReader::new(stream);
        let (mut line, mut length, mut status) = (String::new(), 0, String::new());
        while reader.read_line(&mut line).unwrap() > 0 && line != "\r\n" {
            let lower = line.to_ascii_lowercase();
            if status.is_empty() {
                status = line.split(' ').nth(1).unwrap().to_owned();
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        match status.as_str() {
            "200" => Ok(answer["value"].clone()),
            _ => Err(format!("{method} {path}: {}: {}", answer["value"]["error"], answer["value"]["message"])),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // What is left of it ends with the driver's process group.
        if !self.session.is_empty() {
            let _ = self.send("DELETE", &self.session, &Value::Null);
        }
    }
}

impl Element<'_> {
    pub(crate) fn click(&self) {
        self.post("/click", &json!({}));
    }

    pub(crate) fn type_text(&self, text: &str) {
        self.post("/value", &json!({ "text": text }));
    }

    pub(crate) fn text(&self) -> String {
        self.browser.get(&format!("/element/{}/text", self.id)).as_str().unwrap().to_owned()
    }

    fn post(&self, path: &str, body: &Value) {
        self.browser.post(&format!("/element/{}{path}", self.id), body);
    }
}

/// The name of an element's identifier (WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// On a busy machine everything takes long.
const PATIENCE: Duration = Duration::from_secs(60);
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--host-resolver-rules=MAP exporter.example 127.0.0.1",
    "--window-size=1280,900",
];
/// WebDriver, 17.4.2.
pub(crate) const TAB: char = '\u{e004}';
pub(crate) const ENTER: char = '\u{e007}';
