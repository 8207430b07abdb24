
# Sourced by nginx's configure to add rules to its makefile

lrt_html=$ngx_addon_dir/ngx_http_lrt_upstream_module/dashboard.html

if [ -f $lrt_html ]; then
    cat << END                                                >> $NGX_MAKEFILE

$NGX_OBJS/lrt_dashboard_html.h:	$lrt_html
	( echo 'static const u_char  lrt_dashboard_html[] = {'; \\
	  od -An -v -tu1 $lrt_html | sed -e 's/[0-9][0-9]*/&,/g'; \\
	  echo '};' ) > \$@

END
fi
