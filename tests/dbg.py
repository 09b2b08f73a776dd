import sys,os
sys.path.insert(0,'/work/main/tests/system')
from recovery import *
from support import *
with deployment() as (cluster, sandbox):
    sandbox.run("backup", "create", "--kind", "base", check=0)
    with Receiver(sandbox) as r:
        cluster.sql("INSERT INTO settings (name, value, updated_at) VALUES ('one', '', 0)")
        r.wait_for_position(cluster.sql("SELECT pg_current_wal_lsn()"))
        time.sleep(1.5)
        r.stop()
        print(r.text())
    print(subprocess.run(f"ls -la {sandbox.directory}/backups/wal/*; cat {sandbox.directory}/backups/wal/*/confirmed.json; cat {sandbox.directory}/backups/wal/status.json", shell=True, capture_output=True, text=True).stdout)
    print(subprocess.run([BINARY,"restore","wal-get","000000010000000000000003","/tmp/zz"],env=sandbox.environment,capture_output=True,text=True))
    p=subprocess.Popen([BINARY,"restore","--latest","--to",str(sandbox.directory/"rec")],env={**sandbox.environment,"DBG":"1"})
    p.wait()
