-- kind, key
return forget_document(ARGV[2], ARGV[3]) and 1 or 0
