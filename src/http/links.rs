//! Where the routes lie, and how a browser gets to them.

/// The route prefix, and the path of the external URL; each empty or like `/rdp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    routes: String,
    external: String,
}

impl Links {
    /// Of paths with or without slashes at their ends; each is the other where it is not given.
    #[must_use]
    pub fn new(external: Option<&str>, routes: Option<&str>) -> Self {
        let prefix = |path: Option<&str>| match path.unwrap_or_default().trim_matches('/') {
            "" => String::new(),
            path => format!("/{path}"),
        };
        Self { routes: prefix(routes.or(external)), external: prefix(external.or(routes)) }
    }

    /// A route's path as it is asked for, without the prefix; `None` where it is not below it.
    pub(super) fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&self.routes)? {
            "" => Some("/"),
            inside => inside.starts_with('/').then_some(inside),
        }
    }

    /// What stands in front of every route where a browser is; empty, or like `/rdp`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.external
    }

    /// What a page has to link to for a browser to get to a route such as `/config`.
    #[must_use]
    pub fn to(&self, route: &str) -> String {
        format!("{}{route}", self.external)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_lie_below_the_prefix_and_links_lead_there_from_outside() {
        for (external, routes, inside, link) in [
            (
                None,
                None,
                [("/", Some("/")), ("/config", Some("/config")), ("/rdp/config", Some("/rdp/config"))],
                "/config",
            ),
            (Some("/"), None, [("/", Some("/")), ("/config", Some("/config")), ("//", Some("//"))], "/config"),
            (
                Some("/rdp/"),
                None,
                [("/rdp", Some("/")), ("/rdp/config", Some("/config")), ("/config", None)],
                "/rdp/config",
            ),
            (
                Some("/a/b"),
                Some("/"),
                [("/config", Some("/config")), ("/a/b", Some("/a/b")), ("/", Some("/"))],
                "/a/b/config",
            ),
            (Some("/"), Some("/a"), [("/a/config", Some("/config")), ("/config", None), ("/", None)], "/config"),
            (None, Some("rdp"), [("/rdp/", Some("/")), ("/rdpx", None), ("/", None)], "/rdp/config"),
        ] {
            let links = Links::new(external, routes);
            for (path, expected) in inside {
                assert_eq!(links.inside(path), expected, "{links:?} {path}");
            }
            assert_eq!(links.to("/config"), link, "{links:?}");
        }
    }
}
