//! From words to questions, after the grammar of pcap-filter(7).

use std::net::{IpAddr, Ipv4Addr};

use super::{
    super::dissect::protocol::Protocol,
    ARP, FilterError, Net, Node, RARP, Side, Test, V4, V6, Versions,
    lex::{Kind, Token},
};

/// So many parentheses and negations in each other are enough for a person.
const DEPTH_MAX: usize = 64;

/// Services by name, as in most systems' `/etc/services`.
const SERVICES: [(&str, u16); 24] = [
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("ntp", 123),
    ("imap2", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("syslog", 514),
    ("ipp", 631),
    ("imaps", 993),
    ("mdns", 5353),
    ("xmpp-client", 5222),
];

pub(super) fn parse(tokens: &[Token], end: usize) -> Result<Node, FilterError> {
    if tokens.is_empty() {
        return Ok(Node::All(Vec::new()));
    }
    let mut parser = Parser { tokens, end, depth: 0, last: Qualifiers::default() };
    let node = parser.expression(None)?;
    match parser.tokens {
        [] => Ok(node),
        [token, ..] => Err(fault(token.place, "`and`, `or` or the end is missing before this")),
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    end: usize,
    depth: usize,
    /// Those of the primitive before: `port 80 or 443`.
    last: Qualifiers,
}

/// What stands before a value.
#[derive(Clone, Copy, Default, PartialEq)]
struct Qualifiers {
    about: About,
    side: Option<Side>,
    value: Value,
}

/// Protocol qualifier.
#[derive(Clone, Copy, Default, PartialEq)]
enum About {
    #[default]
    Anything,
    Kind(u16),
    Carries(u8, Versions),
}

/// Type qualifier.
#[derive(Clone, Copy, Default, PartialEq)]
enum Value {
    #[default]
    Unsaid,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

impl<'t> Parser<'t> {
    /// `and` and `or` bind equally, from left to right.
    fn expression(&mut self, inherited: Option<Qualifiers>) -> Result<Node, FilterError> {
        let mut left = self.negation(inherited)?;
        loop {
            let Some(Kind::And | Kind::Or) = self.peek() else { return Ok(left) };
            let and = self.peek() == Some(&Kind::And);
            self.advance();
            let right = self.negation(inherited)?;
            left = match (and, left) {
                (true, Node::All(mut nodes)) => {
                    nodes.push(right);
                    Node::All(nodes)
                }
                (false, Node::Any(mut nodes)) => {
                    nodes.push(right);
                    Node::Any(nodes)
                }
                (true, left) => Node::All(vec![left, right]),
                (false, left) => Node::Any(vec![left, right]),
            };
        }
    }

    fn negation(&mut self, inherited: Option<Qualifiers>) -> Result<Node, FilterError> {
        let place = self.place();
        match self.peek() {
            Some(Kind::Not) => {
                self.advance();
                self.deeper(place, |this| this.negation(inherited)).map(|node| Node::Not(Box::new(node)))
            }
            Some(Kind::Open) => self.parentheses(place, inherited),
            Some(Kind::Word(_)) => self.primitive(inherited),
            Some(_) => Err(fault(place, "a condition is missing before this")),
            None => Err(fault(place, "it ends where a condition is missing")),
        }
    }

    fn parentheses(&mut self, place: usize, inherited: Option<Qualifiers>) -> Result<Node, FilterError> {
        self.advance();
        let node = self.deeper(place, |this| this.expression(inherited))?;
        match self.peek() {
            Some(Kind::Close) => {
                self.advance();
                Ok(node)
            }
            _ => Err(fault(self.place(), format!("the parenthesis at {place} is not closed"))),
        }
    }

    fn deeper(&mut self, place: usize, inner: impl FnOnce(&mut Self) -> Result<Node, FilterError>) -> Result<Node, FilterError> {
        if self.depth >= DEPTH_MAX {
            return Err(fault(place, format!("more than {DEPTH_MAX} conditions in each other")));
        }
        self.depth += 1;
        let node = inner(self);
        self.depth -= 1;
        node
    }

    /// Qualifiers and a value, or a protocol alone.
    fn primitive(&mut self, inherited: Option<Qualifiers>) -> Result<Node, FilterError> {
        let start = self.tokens;
        let place = self.place();
        let qualifiers = self.qualifiers(place)?;
        let said = self.tokens.len() < start.len();
        match (self.peek(), qualifiers.about) {
            (Some(Kind::Open), _) if said => self.parentheses(self.place(), Some(qualifiers)),
            (Some(Kind::Word(word)), _) => {
                let place = self.place();
                self.advance();
                self.valued(word, place, said.then_some(qualifiers).or(inherited))
            }
            (_, about) if said && qualifiers.side.is_none() && qualifiers.value == Value::Unsaid => Ok(Node::Test(match about {
                About::Kind(kind) => Test::Kind(kind),
                About::Carries(number, versions) => Test::Carries(number, versions),
                About::Anything => return Err(fault(place, "a condition is missing")),
            })),
            _ => Err(fault(self.place(), "an address, a network or a port is missing here")),
        }
    }

    fn qualifiers(&mut self, place: usize) -> Result<Qualifiers, FilterError> {
        let mut said = Qualifiers::default();
        while let Some(Kind::Word(word)) = self.peek() {
            let here = self.place();
            let free = said.side.is_none() && said.value == Value::Unsaid;
            match (word.as_str(), about(word)) {
                ("src" | "dst", _) if said.side.is_none() => said.side = Some(self.side(word == "src")),
                ("host", _) if said.value == Value::Unsaid => said.value = Value::Host,
                ("net", _) if said.value == Value::Unsaid => said.value = Value::Net,
                ("port", _) if said.value == Value::Unsaid => said.value = Value::Port,
                ("portrange", _) if said.value == Value::Unsaid => said.value = Value::PortRange,
                ("proto", _) if said.value == Value::Unsaid => said.value = Value::Proto,
                (_, Some(kind)) if free && said.about == About::Anything => said.about = kind,
                ("src" | "dst" | "host" | "net" | "port" | "portrange" | "proto", _) => {
                    return Err(fault(here, format!("`{word}` cannot stand here")));
                }
                _ => break,
            }
            self.advance();
        }
        let ports = matches!(said.value, Value::Port | Value::PortRange);
        match said.about {
            About::Kind(_) if ports => Err(fault(place, "only tcp, udp and sctp have ports")),
            About::Carries(number, _) if said.value != Value::Unsaid && !(ports && matches!(number, 6 | 17 | 132)) => {
                Err(fault(place, "this protocol has no such thing"))
            }
            _ => Ok(said),
        }
    }

    /// `src`, `dst`, `src or dst`, `src and dst`; stands on its last word.
    fn side(&mut self, source: bool) -> Side {
        let other = if source { "dst" } else { "src" };
        let both = match self.tokens {
            [_, Token { kind: joint @ (Kind::And | Kind::Or), .. }, Token { kind: Kind::Word(word), .. }, ..] if word == other => {
                Some(joint)
            }
            _ => None,
        };
        let Some(joint) = both else { return if source { Side::Source } else { Side::Destination } };
        self.advance();
        self.advance();
        if *joint == Kind::And { Side::Both } else { Side::Either }
    }

    /// A value behind its qualifiers, or without any: `less 100`, `dns`, `10.0.0.1`, and after `port 80 or` also `443`.
    fn valued(&mut self, word: &str, place: usize, said: Option<Qualifiers>) -> Result<Node, FilterError> {
        if said.is_none() {
            if let "less" | "greater" = word {
                return self.length(word == "less");
            }
            let service = self.last.value == Value::Port && SERVICES.iter().any(|(name, _)| *name == word);
            if service {
                return value(word, place, self.last).map(Node::Test);
            }
            if let Some(protocol) = Protocol::named(word) {
                return Ok(Node::Test(Test::Holds(protocol)));
            }
            if !word.starts_with(|c: char| c.is_ascii_digit() || c == ':') && !word.contains(':') {
                return Err(fault(place, format!("`{word}` is no word of a filter and no protocol that we know")));
            }
        }
        let qualifiers = said.unwrap_or(self.last);
        self.last = qualifiers;
        value(word, place, qualifiers).map(Node::Test)
    }

    fn length(&mut self, less: bool) -> Result<Node, FilterError> {
        let place = self.place();
        let Some(Kind::Word(word)) = self.peek() else { return Err(fault(place, "a length in bytes is missing here")) };
        let length = word.parse().map_err(|_| fault(place, format!("`{word}` is no length in bytes")))?;
        self.advance();
        Ok(Node::Test(if less { Test::Length(0, length) } else { Test::Length(length, u32::MAX) }))
    }

    fn peek(&self) -> Option<&'t Kind> {
        self.tokens.first().map(|token| &token.kind)
    }

    fn advance(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    fn place(&self) -> usize {
        self.tokens.first().map_or(self.end, |token| token.place)
    }
}

/// The protocols that pcap-filter knows, which may qualify a value.
fn about(word: &str) -> Option<About> {
    use Versions::{Both, Four, Six};
    Some(match word {
        "ip" => About::Kind(V4),
        "ip6" => About::Kind(V6),
        "arp" => About::Kind(ARP),
        "rarp" => About::Kind(RARP),
        "tcp" => About::Carries(6, Both),
        "udp" => About::Carries(17, Both),
        "sctp" => About::Carries(132, Both),
        "icmp" => About::Carries(1, Four),
        "icmp6" => About::Carries(58, Six),
        "igmp" => About::Carries(2, Four),
        "igrp" => About::Carries(9, Four),
        "vrrp" | "carp" => About::Carries(112, Four),
        "pim" => About::Carries(103, Both),
        "ah" => About::Carries(51, Both),
        "esp" => About::Carries(50, Both),
        _ => return None,
    })
}

fn value(word: &str, place: usize, said: Qualifiers) -> Result<Test, FilterError> {
    let side = said.side.unwrap_or(Side::Either);
    let carriers = if let About::Carries(number, _) = said.about { Some(number) } else { None };
    match said.value {
        Value::Port => port(word, place).map(|port| Test::Port(side, port, port, carriers)),
        Value::PortRange => {
            let Some((from, to)) = word.split_once('-') else { return Err(fault(place, format!("`{word}` is no range like 1000-2000"))) };
            let (from, to) = (port(from, place)?, port(to, place)?);
            Ok(Test::Port(side, from.min(to), from.max(to), carriers))
        }
        Value::Proto => number(word, place, said.about),
        Value::Unsaid | Value::Host | Value::Net => {
            if carriers.is_some() {
                return Err(fault(place, format!("`and`, `or` or `port` is missing before `{word}`")));
            }
            let net = net(word, place, said.value)?;
            let kinds = if let About::Kind(kind) = said.about { Some(kind) } else { None };
            Ok(Test::Within(side, net, kinds))
        }
    }
}

fn port(word: &str, place: usize) -> Result<u16, FilterError> {
    let service = SERVICES.iter().find(|(name, _)| *name == word).map(|(_, port)| *port);
    service.or_else(|| word.parse().ok()).ok_or_else(|| fault(place, format!("`{word}` is no port")))
}

/// `ip proto 17`, `ip6 proto 58`, `proto \tcp`.
fn number(word: &str, place: usize, said: About) -> Result<Test, FilterError> {
    let versions = match said {
        About::Kind(V4) => Versions::Four,
        About::Kind(V6) => Versions::Six,
        About::Anything => Versions::Both,
        _ => return Err(fault(place, "only ip and ip6 carry protocols with a number")),
    };
    let named =
        about(word.trim_start_matches('\\')).and_then(|about| if let About::Carries(number, _) = about { Some(number) } else { None });
    let number = word.parse().ok().or(named).ok_or_else(|| fault(place, format!("`{word}` is no number of a protocol")))?;
    Ok(Test::Carries(number, versions))
}

/// `10.0.0.1`, `fd00::1`, `10.0.0.0/8`, and for networks their beginning alone: `10.0`.
fn net(word: &str, place: usize, said: Value) -> Result<Net, FilterError> {
    let (text, prefix) = word.split_once('/').map_or((word, None), |(text, prefix)| (text, Some(prefix)));
    if prefix.is_some() && said == Value::Host {
        return Err(fault(place, "a host has no prefix; say `net`"));
    }
    let (address, own) =
        address(text, said).ok_or_else(|| fault(place, format!("`{word}` is no address (names are not looked up: write the address)")))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => own,
        Some(prefix) => {
            prefix.parse().ok().filter(|prefix| *prefix <= most).ok_or_else(|| fault(place, format!("`/{prefix}` is no prefix")))?
        }
    };
    let net = Net { address, prefix };
    let beyond = match address {
        IpAddr::V4(address) => address.to_bits() & !net.mask_4() != 0,
        IpAddr::V6(address) => address.to_bits() & !net.mask_6() != 0,
    };
    if beyond {
        return Err(fault(place, format!("`{net}` has bits beyond its prefix")));
    }
    Ok(net)
}

/// An address with the prefix that it has by itself: fewer than four numbers are the beginning of a network.
fn address(text: &str, said: Value) -> Option<(IpAddr, u8)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let parts: Vec<u8> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let short = said != Value::Host && (1..4).contains(&parts.len()) && (said == Value::Net || parts.len() > 1);
    let part = |at: usize| parts.get(at).copied().unwrap_or(0);
    let prefix = u8::try_from(parts.len() * 8).ok()?;
    short.then(|| (IpAddr::V4(Ipv4Addr::new(part(0), part(1), part(2), part(3))), prefix))
}

fn fault(place: usize, what: impl Into<String>) -> FilterError {
    FilterError { place, what: what.into() }
}
