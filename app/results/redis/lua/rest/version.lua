prune()
return redis.call('HGET', META, 'version') or '0'
