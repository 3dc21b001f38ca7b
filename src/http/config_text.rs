//! The text of `/config`, of which there is one copy for all who read it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::body::Bytes;

use crate::config::Config;

/// The configuration as it was last written down, for as long as somebody reads it.
///
/// Of a large estate it is megabytes, and whoever asks for it need not read it.
#[derive(Debug, Default)]
pub(super) struct ConfigText(Mutex<Option<Written>>);

#[derive(Debug)]
struct Written {
    of: Weak<Config>,
    text: Weak<String>,
}

/// The text of whoever reads it.
struct Shared(Arc<String>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl ConfigText {
    /// The text of `config`. Of a large estate it takes a while to write, in which others wait for this one.
    pub(super) fn of(&self, config: &Arc<Config>) -> Bytes {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|written| written.of.as_ptr() == Arc::as_ptr(config));
        let text = known.and_then(|written| written.text.upgrade()).unwrap_or_else(|| {
            let text = Arc::new(config.to_yaml());
            *last = Some(Written { of: Arc::downgrade(config), text: Arc::downgrade(&text) });
            text
        });
        Bytes::from_owner(Shared(text))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn all_readers_of_one_configuration_share_its_text() {
        let config = |name| {
            let text = format!("targets: [{{ address: {name} }}]");
            Arc::new(Config::from_yaml(&text, Path::new("config.yaml")).unwrap())
        };
        let (first, second) = (config("first"), config("second"));
        let written = ConfigText::default();
        let (one, other) = (written.of(&first), written.of(&first));
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert_eq!(one, first.to_yaml());
        assert_eq!(written.of(&second), second.to_yaml(), "after a reload");
        assert_eq!(one, first.to_yaml(), "whoever still reads the old one reads on");
    }
}
