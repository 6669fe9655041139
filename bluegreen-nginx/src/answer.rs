use bluegreen_core::Slot;

/// What nginx answered at `/deployment_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) slot: Option<Slot>,
    pub(crate) mark: Option<Mark>,
}

/// What a generated site says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) service: String,
    /// Which text of the site nginx has loaded.
    pub(crate) site: String,
    pub(crate) green: Green,
}

/// What nginx sees behind the flag link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Green {
    /// There are no flags.
    Nothing,
    /// The link leads to the flags of this share.
    Percent(u8),
    /// The link leads somewhere else, or the site has no flags.
    Unknown,
}

impl Answer {
    pub(crate) fn new(status: u16, header: Option<&str>, body: &str) -> Self {
        let slot = if status == 200 { body.trim().parse().ok() } else { None };
        Self { status, slot, mark: header.and_then(Mark::parse) }
    }

    /// The mark, if it is this service's.
    pub(crate) fn mark_of(&self, service: &str) -> Option<&Mark> {
        self.mark.as_ref().filter(|mark| mark.service == service)
    }

    /// For an error, when it is not the answer of the service's site.
    pub(crate) fn describe(&self) -> String {
        let answer = match self.slot {
            Some(slot) => format!("{slot}"),
            None => format!("status {}", self.status),
        };
        match &self.mark {
            Some(mark) => format!("{answer}, as the service {}", mark.service),
            None => answer,
        }
    }
}

impl Mark {
    fn parse(header: &str) -> Option<Self> {
        let value = |key: &str| header.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let green = match value("green") {
            Some("none") => Green::Nothing,
            Some(number) => number.parse().ok().filter(|p| *p <= 100).map_or(Green::Unknown, Green::Percent),
            None => Green::Unknown,
        };
        Some(Self { service: value("service")?.to_owned(), site: value("site")?.to_owned(), green })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_from_status_header_and_body() {
        let answer = Answer::new(200, Some("service=shop site=0123 green=10"), "green");
        let mark = Mark { service: "shop".into(), site: "0123".into(), green: Green::Percent(10) };
        assert_eq!(answer, Answer { status: 200, slot: Some(Slot::Green), mark: Some(mark) });
        assert!(answer.mark_of("shop").is_some() && answer.mark_of("blog").is_none());
        let green = |header| Answer::new(200, Some(header), "blue").mark.map(|mark| mark.green);
        assert_eq!(green("service=a site=b green=none"), Some(Green::Nothing));
        assert_eq!(green("service=a site=b green=unknown"), Some(Green::Unknown));
        assert_eq!(green("service=a site=b green=101"), Some(Green::Unknown));
        assert_eq!(green("service=a site=b"), Some(Green::Unknown));
        assert_eq!(green("something else"), None);
    }

    #[test]
    fn an_error_page_names_no_slot() {
        assert_eq!(Answer::new(404, None, "blue").slot, None);
        assert_eq!(Answer::new(200, None, "<html>").slot, None);
        assert_eq!(Answer::new(200, None, "blue\n").slot, Some(Slot::Blue));
    }
}
