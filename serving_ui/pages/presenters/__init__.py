"""What pages show, made from rows: words, icons, tables. Reads no request and changes nothing."""
