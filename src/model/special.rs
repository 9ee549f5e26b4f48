//! Files that are neither content nor folder nor link: pipes, sockets, devices.
//!
//! The bucket keeps an empty object for each; what it is stands in the entry and in the
//! object's metadata as one text: `fifo`, `socket`, `block:8:1`, `char:1:3` (kind, major and
//! minor number). A text that says something else means an ordinary file.

use std::fmt;

/// What a special file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device with this number.
    Block(Device),
    /// A character device with this number.
    Char(Device),
}

/// The number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// Which driver; 12 bits.
    pub major: u32,
    /// Which of the driver's devices; 20 bits.
    pub minor: u32,
}

/// The largest numbers that the kernel knows.
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

impl Special {
    /// Reads what [`fmt::Display`] writes; `None` if the text says something else.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "fifo" => Some(Self::Fifo),
            None if text == "socket" => Some(Self::Socket),
            Some(("block", number)) => Device::parse(number).map(Self::Block),
            Some(("char", number)) => Device::parse(number).map(Self::Char),
            _ => None,
        }
    }

    /// Returns the number of a device; `None` if it is none.
    pub fn device(self) -> Option<Device> {
        match self {
            Self::Fifo | Self::Socket => None,
            Self::Block(device) | Self::Char(device) => Some(device),
        }
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fifo => f.write_str("fifo"),
            Self::Socket => f.write_str("socket"),
            Self::Block(device) => write!(f, "block:{device}"),
            Self::Char(device) => write!(f, "char:{device}"),
        }
    }
}

impl Device {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        let device = Self { major: major.parse().ok()?, minor: minor.parse().ok()? };
        (device.major <= MAX_MAJOR && device.minor <= MAX_MINOR).then_some(device)
    }

    /// Reads a number as the kernel puts it into 32 bits.
    pub fn from_kernel(number: u32) -> Self {
        Self { major: (number >> 8) & MAX_MAJOR, minor: (number & 0xff) | ((number >> 12) & 0xfff00) }
    }

    /// Returns the number as the kernel puts it into 32 bits.
    pub fn to_kernel(self) -> u32 {
        (self.minor & 0xff) | ((self.major & MAX_MAJOR) << 8) | ((self.minor & 0xfff00) << 12)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let device = Device { major: 4095, minor: 1_048_575 };
        for special in [Special::Fifo, Special::Socket, Special::Block(device), Special::Char(device)] {
            assert_eq!(Special::parse(&special.to_string()), Some(special));
        }
        for odd in ["", "Fifo", "fifo:1:2", "block", "block:1", "char:1:2:3", "char:4096:0", "char:-1:0"] {
            assert_eq!(Special::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn numbers_are_packed_as_the_kernel_does() {
        for (major, minor) in [(8, 1), (1, 3), (4095, 0xf_ffff), (0, 0)] {
            let device = Device { major, minor };
            assert_eq!(Device::from_kernel(device.to_kernel()), device);
        }
        assert_eq!(Device { major: 8, minor: 1 }.to_kernel(), 0x0801);
        assert_eq!(Device { major: 259, minor: 0x12345 }.to_kernel(), 0x1231_0345);
    }
}
