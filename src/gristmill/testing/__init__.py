"""For tests of Gristmill and of its plug-ins: contracts, fakes, fault tools. Needs pytest."""
