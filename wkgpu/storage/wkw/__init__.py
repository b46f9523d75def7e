"""The WKW format."""
